"""Owns one relay stream: its calls, each in a task and a context of its own, until its last answer is sent.

Step before: `service.relay.servicer` has accepted the stream. Step after: `service.relay.calls` serves each
call, and `service.relay.outbox` holds the answers until they are sent.

What a stream can hold is bounded. Who sends more calls than are answered, or does not read the answers, is
not read from. Calls that have come by then wait to begin; those that have begun wait, before their answers
are made, for space in the outbox. As every call has a deadline, also for that and for being sent, what is
held goes away by itself.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextvars import Context as ContextVariables
from functools import partial
from typing import Any, Final

import structlog
from grpc import StatusCode

from common.edge_metadata import CLIENT_ADDRESS_KEY
from service import errors
from service.error_boundary import status_of
from service.failure_record import failure_record
from service.relay.calls import Outcome, RelayedCalls, failure
from service.relay.outbox import Outbox, Space
from service.rpc_types import Context
from tenantrooms.relay.v1 import relay_pb2 as pb

METHODS: Final[Mapping[int, str]] = {
    pb.METHOD_LIST_ROOMS: "/tenantrooms.v1.TenantRooms/ListRooms",
    pb.METHOD_GET_ROOM: "/tenantrooms.v1.TenantRooms/GetRoom",
}
"""The rpc that each of the relay's methods stands for."""

MOST_CALLS: Final = 1_024
"""Calls of one stream that are read and not yet wholly answered; at so many, no more are read."""

IDLE_SECONDS: Final = 20.0
"""A stream with no call for so long, or up to twice that, is asked to end, and ended when it does not."""

MOST_MILLISECONDS: Final = 300_000
"""The longest time of a call, which is also the most that the edge may be set to."""

_TIME_IS_UP: Final = failure(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
_NO_SUCH_RPC: Final = failure(StatusCode.UNIMPLEMENTED, "Method not found!")
_MALFORMED: Final = Outcome(b"", status_of(errors.RequestMalformed()).SerializeToString())
_UNEXPECTED: Final = Outcome(b"", status_of(errors.Unexpected()).SerializeToString())

# gRPC's own rules, which it keeps for the metadata of a unary call.
_KEY: Final = re.compile(r"[0-9a-z_.-]+")
_USUAL_KEYS: Final = frozenset({"authorization", "x-request-id", "traceparent", CLIENT_ADDRESS_KEY})
_TEXT: Final = bytes(range(ord(" "), ord("~") + 1))

_log = structlog.get_logger(__name__)


class _Call:
    """A call that is not wholly answered."""

    __slots__ = ("expired", "left", "task", "timer")

    def __init__(self) -> None:
        self.task: asyncio.Task[Outcome] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.expired = False
        self.left = False


class Stream:
    """One stream.

    Args:
        calls: serves each call.
        context: the stream's own.
        seconds: after this the other side is asked to go on with another stream; None never asks.
        space: what all streams hold together.
    """

    def __init__(self, calls: RelayedCalls, context: Context, seconds: float | None, space: Space) -> None:
        self._relayed_calls = calls
        self._context = context
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Call] = {}
        self._outbox = Outbox(space)
        self._to_send = asyncio.Event()
        self._room = asyncio.Event()
        self._all_read = False
        self._failure: Exception | None = None
        self._leaving = False
        self._carried = False
        self._idle = False

    @property
    def calls(self) -> int:
        """How many calls are not wholly answered."""
        return len(self._calls)

    def leave(self) -> None:
        """Asks the other side to send no more; what it has sent is still answered."""
        self._leaving = True
        self._to_send.set()

    async def frames(
        self, requests: AsyncIterator[pb.ExchangeRequest]
    ) -> AsyncGenerator[pb.ExchangeResponse, None]:
        """Serves the calls in these frames and gives the frames with the answers, until all is answered.

        Raises:
            RequestMalformed: the other side breaks the rules of the stream.
            Exception: whatever `requests` raises.
        """
        reader = asyncio.create_task(self._read(requests))
        aging = None if self._seconds is None else self._loop.call_later(self._seconds, self.leave)
        watching = asyncio.create_task(self._watch())
        try:
            yield pb.ExchangeResponse()
            said_leaving = False
            while self._failure is None:
                frame = pb.ExchangeResponse()
                complete = self._outbox.fill(frame)
                say_leaving = self._leaving and not said_leaving
                if frame.answers or say_leaving:
                    for call_id in complete:
                        self._forget(call_id)
                    self._room.set()
                    said_leaving = self._leaving
                    frame.leaving = say_leaving
                    yield frame
                elif (self._all_read or self._idle) and not self._calls:
                    return
                else:
                    self._to_send.clear()
                    await self._to_send.wait()
            raise self._failure
        finally:
            if aging is not None:
                aging.cancel()
            await self._end(reader, watching)

    async def _watch(self) -> None:
        """Ends a stream that carries nothing, after its other side had the time to end it."""
        while not self._idle:
            asked, self._carried = self._leaving, False
            await asyncio.sleep(IDLE_SECONDS)
            if not self._carried and not self._calls:
                self._idle = asked
                self.leave()

    async def _read(self, requests: AsyncIterator[pb.ExchangeRequest]) -> None:
        try:
            async for frame in requests:
                came = self._loop.time()
                for call_id in frame.cancelled:
                    self._cancel(call_id)
                for call in frame.calls:
                    while len(self._calls) >= MOST_CALLS or self._outbox.is_full:
                        self._room.clear()
                        await self._room.wait()
                    self._begin(call, came)
        except Exception as error:  # noqa: BLE001 (whoever writes the frames raises it)
            self._fail(error)
        finally:
            self._all_read = True
            self._to_send.set()

    def _begin(self, call: pb.Call, came: float) -> None:
        if call.id in self._calls:
            raise errors.RequestMalformed("a call with the id of another")
        begun = self._calls[call.id] = _Call()
        self._carried = True
        method = METHODS.get(call.method)
        metadata = _metadata_of(call)
        ends = came + min(call.milliseconds_left, MOST_MILLISECONDS) / 1000
        if method is None or metadata is None or ends <= self._loop.time():
            refusal = _NO_SUCH_RPC if method is None else _MALFORMED if metadata is None else _TIME_IS_UP
            self._answer(call.id, refusal)
            return
        begun.timer = self._loop.call_at(ends, self._expire, call.id, begun)
        begun.task = self._loop.create_task(
            self._relayed_calls.serve(
                method,
                metadata,
                call.request,
                ends,
                self._context,
                space=partial(self._outbox.keep_space, call.id),
            ),
            context=ContextVariables(),  # empty: nothing of another call or of the stream is in it
        )
        begun.task.add_done_callback(partial(self._settle, call.id, begun))

    def _settle(self, call_id: int, call: _Call, task: "asyncio.Task[Outcome]") -> None:
        try:
            if call.left:
                self._outbox.give_back(call_id)
                self._forget(call_id)
            else:
                self._answer(call_id, _TIME_IS_UP if call.expired else _outcome_of(task))
        except Exception as error:  # noqa: BLE001 (the stream ends by it; unheard, it would stand still)
            self._fail(error)

    def _expire(self, call_id: int, call: _Call) -> None:
        call.expired = True
        if self._outbox.take_back(call_id):
            self._answer(call_id, _TIME_IS_UP)
        elif call.task is not None:
            call.task.cancel()

    def _cancel(self, call_id: int) -> None:
        call = self._calls.get(call_id)
        if call is None or call.left:
            return
        call.left = True
        if self._outbox.take_back(call_id):
            self._forget(call_id)
        elif call.task is not None:
            call.task.cancel()

    def _answer(self, call_id: int, outcome: Outcome) -> None:
        self._outbox.put(call_id, outcome)
        self._to_send.set()

    def _forget(self, call_id: int) -> None:
        call = self._calls.pop(call_id)
        if call.timer is not None:
            call.timer.cancel()
        self._room.set()
        self._to_send.set()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._to_send.set()

    async def _end(self, *tasks_of_its_own: "asyncio.Task[None]") -> None:
        """Cancels all that is under way; nobody is left to be answered."""
        tasks: list[asyncio.Task[Any]] = [*tasks_of_its_own]
        for task in tasks:
            task.cancel()
        for call in self._calls.values():
            call.left = True
            if call.timer is not None:
                call.timer.cancel()
            if call.task is not None and not call.task.done():
                call.task.cancel()
                tasks.append(call.task)
        try:
            await asyncio.wait(tasks)
        finally:
            self._outbox.close()


def _outcome_of(task: "asyncio.Task[Outcome]") -> Outcome:
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is None:
        return task.result()
    # Nothing passes the error boundary; should something do so all the same, the caller is told no more.
    _log.error("a relayed call failed unseen", **failure_record(error, foreseen=False))
    return _UNEXPECTED


def _metadata_of(call: pb.Call) -> list[tuple[str, str | bytes]] | None:
    """The call's metadata as gRPC gives it; None where gRPC would not let it pass."""
    metadata: list[tuple[str, str | bytes]] = []
    for pair in call.metadata:
        key, value = pair.key, pair.value
        if key not in _USUAL_KEYS and _KEY.fullmatch(key) is None:
            return None
        if key.endswith("-bin"):
            metadata.append((key, value))
        elif not value.translate(None, _TEXT):  # twice as quick as a pattern
            metadata.append((key, value.decode("ascii")))
        else:
            return None
    return metadata
