"""Calls by relay as the edge makes them, down to the frames, and as outcomes to compare with unary calls."""

import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.relay.v1.relay_pb2_grpc import RelayStub
from tests.service.grpc_calls import GET_ROOM, LIST_ROOMS, Metadata, Outcome

METHODS: Final = {LIST_ROOMS: relay_pb2.METHOD_LIST_ROOMS, GET_ROOM: relay_pb2.METHOD_GET_ROOM}
CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def relayed(
    rpc: str,
    request: Message | bytes = b"",
    metadata: Metadata = (),
    *,
    call_id: int = 1,
    milliseconds: int = 10_000,
) -> relay_pb2.Call:
    """A call for a frame."""
    return relay_pb2.Call(
        id=call_id,
        method=METHODS.get(rpc, relay_pb2.METHOD_UNSPECIFIED),
        request=request if isinstance(request, bytes) else request.SerializeToString(),
        metadata=[
            relay_pb2.Metadatum(key=key, value=value if isinstance(value, bytes) else value.encode())
            for key, value in metadata
        ],
        milliseconds_left=milliseconds,
    )


def outcome_of(answer: relay_pb2.Answer) -> Outcome:
    """The same as what a unary call would be."""
    assert not answer.more
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    if answer.request_id:
        trailers = (("x-request-id", answer.request_id),)
    if not answer.status:
        return Outcome(grpc.StatusCode.OK, "", trailers, answer.response)
    assert not answer.response
    status = Status.FromString(answer.status)
    return Outcome(
        CODES[status.code], status.message, (*trailers, ("grpc-status-details-bin", answer.status))
    )


class RelayCaller:
    """One stream, open."""

    def __init__(self, exchange: Any) -> None:
        self.exchange = exchange
        self.leaving = False
        self._ids = itertools.count(1)
        self._answers: deque[relay_pb2.Answer] = deque()

    async def send(self, *calls: relay_pb2.Call, cancelled: tuple[int, ...] = ()) -> None:
        """One frame."""
        await self.exchange.write(relay_pb2.ExchangeRequest(calls=calls, cancelled=cancelled))

    async def frame(self) -> relay_pb2.ExchangeResponse:
        """The next frame; EOFError at a good end, and AioRpcError at a bad one."""
        frame = await self.exchange.read()
        if frame is grpc.aio.EOF:
            raise EOFError
        assert isinstance(frame, relay_pb2.ExchangeResponse)
        self.leaving |= frame.leaving
        return frame

    async def answer(self) -> relay_pb2.Answer:
        """The next answer, or piece of one."""
        while not self._answers:
            self._answers.extend((await self.frame()).answers)
        return self._answers.popleft()

    async def answers(self, count: int) -> dict[int, Outcome]:
        """So many whole answers, by the ids of their calls."""
        found: dict[int, Outcome] = {}
        while len(found) < count:
            answer = await self.answer()
            assert answer.id not in found
            found[answer.id] = outcome_of(answer)
        return found

    async def call(self, rpc: str, request: Message | bytes = b"", metadata: Metadata = ()) -> Outcome:
        """One call, with no other at the same time."""
        call = relayed(rpc, request, metadata, call_id=next(self._ids))
        await self.send(call)
        answer = await self.answer()
        assert answer.id == call.id
        return outcome_of(answer)


@contextlib.asynccontextmanager
async def relaying(channel: grpc.aio.Channel, metadata: Metadata = ()) -> AsyncIterator[RelayCaller]:
    """A stream that the service has accepted, with metadata of its own."""
    caller = RelayCaller(RelayStub(channel).Exchange(metadata=tuple(metadata)))
    assert await caller.frame() == relay_pb2.ExchangeResponse()
    try:
        yield caller
    finally:
        caller.exchange.cancel()
