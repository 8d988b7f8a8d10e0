"""The record of what callers asked the LiveKit double for, and how each call went."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import hdrs, web
from google.protobuf.message import DecodeError, Message
from multidict import CIMultiDictProxy

from tests.support.livekit_auth import read_claims
from tests.support.livekit_methods import METHODS, SERVICE_PATH

WAIT_SECONDS = 10.0


@dataclass(eq=False)
class RecordedCall:
    """One request that came in. Times are seconds of the event loop's clock."""

    method: str
    path: str
    headers: CIMultiDictProxy[str]
    claims: dict[str, Any] | None
    """What the token says, whether or not it proves it; None when there is no readable one."""
    body: bytes
    message: Message | None
    """The decoded request; None when the method is unknown or the body no such message."""
    connection: object
    """Equal for calls that came over one connection."""
    arrived: float
    answered: float | None = None
    status: int | None = None
    aborted: bool = False
    """The caller left before it had the whole answer, or the double stopped."""
    done: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def names(self) -> list[str]:
        """The names that a ListRooms asks for."""
        return list(getattr(self.message, "names", ()))

    @property
    def room(self) -> str | None:
        """The room that the call is about, for methods that name one."""
        return getattr(self.message, "room", None) or getattr(self.message, "name", None)

    @property
    def grants(self) -> dict[str, Any]:
        """The token's video grants."""
        return dict((self.claims or {}).get("video") or {})

    async def finished(self) -> None:
        """Waits until the call is answered or given up."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self.done.wait()


class Record:
    """All calls in the order of arrival."""

    def __init__(self) -> None:
        self.all: list[RecordedCall] = []
        self._unread: deque[RecordedCall] = deque()
        self._news = asyncio.Condition()

    async def add(self, call: RecordedCall) -> None:
        """Takes a call in and wakes whoever waits for it."""
        self.all.append(call)
        self._unread.append(call)
        async with self._news:
            self._news.notify_all()

    async def next(self, method: str | None) -> RecordedCall:
        """The oldest call (of that method) that this has not given yet. Raises TimeoutError."""
        async with asyncio.timeout(WAIT_SECONDS), self._news:
            while True:
                for call in self._unread:
                    if method in (None, call.method):
                        self._unread.remove(call)
                        return call
                await self._news.wait()

    def forget(self) -> None:
        """Empties the record."""
        self.all.clear()
        self._unread.clear()


def recorded_call(request: web.Request, body: bytes, arrived: float) -> RecordedCall:
    """What a request says, as far as it can be read."""
    method = request.path.removeprefix(SERVICE_PATH)
    message: Message | None = None
    if method in METHODS:
        try:
            message = METHODS[method].request.FromString(body)
        except DecodeError:
            message = None
    return RecordedCall(
        method=method,
        path=request.path,
        headers=request.headers,
        claims=read_claims(request.headers.get(hdrs.AUTHORIZATION)),
        body=body,
        message=message,
        connection=request.protocol,
        arrived=arrived,
    )
