"""Owns one relay stream: sends the calls that there are, a frame at a time, and hands out their answers.

Before it: `client` has a call, and `connection` the stream. After it: the service.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from tenantrooms.relay.v1 import relay_pb2 as pb
from tenantrooms_client.channel import MAX_ANSWER_BYTES
from tenantrooms_client.errors import (
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    TenantRoomsError,
    error_of,
)

FRAME_BYTES: Final = 64 * 1024
"""The most that the service takes in as one message."""

# What a call takes in a frame beside its texts, a pair of metadata, and the id of a cancelled call; at most.
_CALL_BYTES: Final = 48
_PAIR_BYTES: Final = 12
_ID_BYTES: Final = 10

_CANCELLED_IN_A_FRAME: Final = 1_000

Exchange: TypeAlias = "grpc.aio.StreamStreamCall[pb.ExchangeRequest, pb.ExchangeResponse]"

_log = structlog.get_logger(__name__)


class StreamOverError(Exception):
    """The stream has ended, or takes no more calls, and this call has no answer.

    Attributes:
        sent: whether the service may have got the call.
    """

    def __init__(self, *, sent: bool) -> None:
        super().__init__(sent)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked in a call, whichever stream it goes by.

    Attributes:
        method: the rpc.
        request: its encoded request.
        metadata: the caller's.
    """

    method: pb.Method.ValueType
    request: bytes
    metadata: Sequence[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """Bytes that it takes in a frame, at most."""
        pairs = sum(len(key) + len(value) + _PAIR_BYTES for key, value in self.metadata)
        return _CALL_BYTES + len(self.request) + pairs


class _Waiting:
    """A call without a whole answer."""

    __slots__ = ("deadline", "outcome", "pieces", "question", "sent", "size")

    def __init__(
        self, question: Question, deadline: float, outcome: "asyncio.Future[bytes | Exception]"
    ) -> None:
        self.question = question
        self.deadline = deadline
        self.outcome = outcome  # an exception is its result, as its caller may be gone when it comes
        self.sent = False
        self.pieces: list[bytes] = []
        self.size = 0

    def end(self, outcome: bytes | Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def expire(self) -> None:
        self.end(DeadlineExceeded(grpc.StatusCode.DEADLINE_EXCEEDED, None, "Deadline Exceeded"))


class Stream:
    """One stream.

    Args:
        exchange: the rpc, which has just been started.
        on_leaving: called once when an open stream takes no more calls, also because it has ended.

    Attributes:
        takes_calls: whether it is open, and the service stays.
    """

    def __init__(self, exchange: Exchange, on_leaving: Callable[[], None]) -> None:
        self._exchange = exchange
        self._on_leaving = on_leaving
        self._loop = asyncio.get_running_loop()
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._unsent: deque[int] = deque()
        self._cancelled: deque[int] = deque()
        self._to_send = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.takes_calls = False

    async def open(self) -> bool:
        """Waits until the service has accepted the stream; False when it says nothing that can be understood.

        Raises:
            grpc.aio.AioRpcError: the service has refused it, or nobody is there.
        """
        if not isinstance(await self._exchange.read(), pb.ExchangeResponse):
            return False
        self.takes_calls = True
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        return True

    def leave(self) -> None:
        """Sends no more and half-closes. Calls that were sent are still answered; the others are told."""
        if not self.takes_calls:
            return
        self.takes_calls = False
        while self._unsent:
            if (waiting := self._waiting.pop(self._unsent.popleft(), None)) is not None:
                waiting.end(StreamOverError(sent=False))
        self._to_send.set()
        self._on_leaving()

    async def over(self) -> None:
        """Waits until the last answer has come, or the stream has broken."""
        await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Ends the stream now, with all that is on it."""
        self._exchange.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def ask(self, question: Question, deadline: float) -> bytes:
        """The encoded response to this call. A caller that leaves cancels it.

        Args:
            question: the call; its size is at most that of a frame.
            deadline: when its time is up, by the event loop's clock.

        Raises:
            StreamOverError: the stream is over.
            TenantRoomsError: the call failed.
        """
        if not self.takes_calls:
            raise StreamOverError(sent=False)
        call_id = next(self._ids)
        waiting = self._waiting[call_id] = _Waiting(question, deadline, self._loop.create_future())
        timer = self._loop.call_at(deadline, waiting.expire)
        self._unsent.append(call_id)
        self._to_send.set()
        try:
            outcome = await waiting.outcome
        finally:
            timer.cancel()
            if self._waiting.pop(call_id, None) is not None and waiting.sent:
                self._cancelled.append(call_id)
                self._to_send.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _write(self) -> None:
        try:
            while True:
                if (frame := self._next_frame()) is not None:
                    await self._exchange.write(frame)
                elif self.takes_calls:
                    self._to_send.clear()
                    await self._to_send.wait()
                else:
                    break
            await self._exchange.done_writing()
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream is of no more use
            self._broken(error)
            self._exchange.cancel()

    def _next_frame(self) -> pb.ExchangeRequest | None:
        """Everything that is to be sent, as far as one frame holds it."""
        if not self._unsent and not self._cancelled:
            return None
        frame = pb.ExchangeRequest()
        while self._cancelled and len(frame.cancelled) < _CANCELLED_IN_A_FRAME:
            frame.cancelled.append(self._cancelled.popleft())
        size = len(frame.cancelled) * _ID_BYTES
        now = self._loop.time()
        while self._unsent:
            waiting = self._waiting.get(self._unsent[0])
            if waiting is not None:
                size += waiting.question.size
                if size > FRAME_BYTES and (frame.calls or frame.cancelled):
                    break
                self._add(frame, self._unsent[0], waiting, max(0, int((waiting.deadline - now) * 1000)))
            self._unsent.popleft()
        return frame

    def _add(self, frame: pb.ExchangeRequest, call_id: int, waiting: _Waiting, milliseconds: int) -> None:
        question = waiting.question
        call = frame.calls.add(
            id=call_id, method=question.method, request=question.request, milliseconds_left=milliseconds
        )
        for key, value in question.metadata:
            call.metadata.add(key=key, value=value)
        waiting.sent = True

    async def _read(self) -> None:
        try:
            while isinstance(frame := await self._exchange.read(), pb.ExchangeResponse):
                for answer in frame.answers:
                    self._take(answer)
                if frame.leaving:
                    self.leave()
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream is of no more use
            self._broken(error)
        finally:
            self.leave()
            while self._waiting:
                self._waiting.popitem()[1].end(StreamOverError(sent=True))
            self._exchange.cancel()
            self._to_send.set()  # for `_write`, which finds that there is nothing left

    def _take(self, answer: pb.Answer) -> None:
        waiting = self._waiting.get(answer.id)
        if waiting is None or waiting.outcome.done():
            return
        outcome: bytes | Exception = answer.response
        if answer.status:
            outcome = _error_in(answer)
        elif answer.more or waiting.pieces:
            waiting.pieces.append(answer.response)
            waiting.size += len(answer.response)
            if waiting.size > MAX_ANSWER_BYTES:
                text = "The answer is larger than is taken in"
                waiting.end(ResourceExhausted(grpc.StatusCode.RESOURCE_EXHAUSTED, None, text))
                return  # still among those who wait, so that `ask` cancels it
            if answer.more:
                return
            outcome = b"".join(waiting.pieces)
        del self._waiting[answer.id]
        waiting.end(outcome)

    def _broken(self, error: Exception) -> None:
        if isinstance(error, grpc.aio.AioRpcError):
            _log.info("relay_broken", code=error.code().name)
        elif not isinstance(error, asyncio.InvalidStateError):  # it has ended while something was written
            _log.error("relay_failed", error=type(error).__qualname__)


def _error_in(answer: pb.Answer) -> TenantRoomsError:
    try:
        return error_of(Status.FromString(answer.status), answer.request_id or None)
    except DecodeError:
        return Internal(grpc.StatusCode.INTERNAL, None, "The answer could not be decoded")
