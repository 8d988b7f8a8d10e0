"""Ways in which the LiveKit double can fail a call: each is one of rows U of the reliability matrix.

A test hands them to `LiveKitDouble.script`. Each gets one call and sends the answer to it. Whatever still
waits is cancelled when its caller leaves or the double stops. Those here spoil what is answered, or when;
those of `livekit_wire_faults` break the answer on the wire, and can be had from here too.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web
from google.protobuf.message import Message
from livekit.protocol import models
from livekit.protocol.room import ListRoomsResponse

from tests.support.livekit_answers import PROTOBUF, Answer, plain_text, twirp_error
from tests.support.livekit_calls import Call, Fault, respond
from tests.support.livekit_wire_faults import EndlessBody, GzipBomb, Reset, Trickle, Truncate

__all__ = [
    "Alter",
    "EndlessBody",
    "Fault",
    "GzipBomb",
    "Hang",
    "Hold",
    "Mutate",
    "Normal",
    "PlainText",
    "RawBody",
    "Reset",
    "Run",
    "Trickle",
    "Truncate",
    "TwirpError",
    "extra_rooms",
    "html_page",
    "under_another_name",
]


class Normal:
    """No fault: a place holder in a script, as in `script(method, Normal(), PlainText(401, "…"))`."""

    async def send(self, call: Call) -> web.StreamResponse:
        return respond(call.answer())


@dataclass(frozen=True)
class TwirpError:
    """A Twirp error in JSON, with the status that belongs to its code unless another is given."""

    code: str
    message: str = "made up by a test"
    status: int | None = None
    meta: Mapping[str, str] = field(default_factory=dict)

    async def send(self, call: Call) -> web.StreamResponse:
        return respond(twirp_error(self.code, self.message, self.meta, self.status))


@dataclass(frozen=True)
class PlainText:
    """A refusal in plain text: LiveKit's 401 for a bad token, a proxy's 413 or 502."""

    status: int
    text: str = "made up by a test"

    async def send(self, call: Call) -> web.StreamResponse:
        return respond(plain_text(self.status, self.text))


@dataclass(frozen=True)
class RawBody:
    """Any bytes: malformed protobuf, HTML with 200, a redirect."""

    body: bytes
    status: int = 200
    content_type: str = PROTOBUF
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, call: Call) -> web.StreamResponse:
        return respond(Answer(self.status, self.content_type, self.body, self.headers))


def html_page(status: int = 200) -> RawBody:
    """The page of a captive portal or of a proxy in LiveKit's place."""
    return RawBody(b"<!doctype html><title>Welcome</title><p>Hello", status, "text/html; charset=utf-8")


@dataclass(frozen=True)
class Mutate:
    """The right answer with its bytes changed."""

    change: Callable[[bytes], bytes]

    async def send(self, call: Call) -> web.StreamResponse:
        answer = call.answer()
        return respond(replace(answer, body=self.change(answer.body)))


@dataclass(frozen=True)
class Alter:
    """The right answer with its message changed; `extra_rooms` and `under_another_name` are made of it."""

    change: Callable[[Message], object]

    async def send(self, call: Call) -> web.StreamResponse:
        answer = call.answer()
        message = call.parsed(answer.body)
        self.change(message)
        return respond(replace(answer, body=message.SerializeToString()))


def extra_rooms(*rooms: models.Room) -> Alter:
    """A list with rooms that nobody asked for."""

    def extend(message: Message) -> None:
        _room_list(message).rooms.extend(rooms)

    return Alter(extend)


def under_another_name(name: str) -> Alter:
    """A list in which every room bears that name."""

    def rename(message: Message) -> None:
        for room in _room_list(message).rooms:
            room.name = name

    return Alter(rename)


def _room_list(message: Message) -> ListRoomsResponse:
    if not isinstance(message, ListRoomsResponse):
        raise TypeError("this fault is for ListRooms")
    return message


@dataclass(frozen=True)
class Run:
    """The right answer, with an action right before the rooms are read or right after, before it is sent.

    This is how a room is deleted, recreated or given away between two calls of one caller.
    """

    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None

    async def send(self, call: Call) -> web.StreamResponse:
        await _run(self.before)
        answer = call.answer()
        await _run(self.after)
        return respond(answer)


async def _run(action: Callable[[], object] | None) -> None:
    result = None if action is None else action()
    if inspect.isawaitable(result):
        await result


class Hold:
    """The right answer, once it is released; one hold may serve many calls.

    Args:
        read_first: the answer is made of the rooms as they were when the call came, not when it is released.
        then: what to answer with instead, once released.
    """

    def __init__(self, *, read_first: bool = False, then: Fault | None = None) -> None:
        self._read_first = read_first
        self._then = then
        self._reached = asyncio.Event()
        self._released = asyncio.Event()

    async def reached(self) -> None:
        """Waits until a call is held here."""
        async with asyncio.timeout(10):
            await self._reached.wait()

    def release(self) -> None:
        """Lets every held call go, and later ones pass."""
        self._released.set()

    async def send(self, call: Call) -> web.StreamResponse:
        answer = call.answer() if self._read_first else None
        self._reached.set()
        await self._released.wait()
        if self._then is not None:
            return await self._then.send(call)
        return respond(call.answer() if answer is None else answer)


class Hang:
    """No answer, for as long as the caller waits."""

    async def send(self, call: Call) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("never reached")
