"""A relay over real gRPC that does, frame by frame, what a test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from tenantrooms.relay.v1 import relay_pb2 as pb
from tenantrooms.relay.v1.relay_pb2_grpc import RelayServicer, RelayStub, add_RelayServicer_to_server
from tests.edge.fake_service import Context

_OVER = object()


class FakeStream:
    """One stream that an edge has opened.

    Attributes:
        client: whom the edge's certificate names, if it shows one.
        frames: how many frames with calls have come.
        half_closed: set when the edge sends no more.
        ended: set when the stream is over.
    """

    def __init__(self, client: str) -> None:
        self.client = client
        self.frames = 0
        self.half_closed = asyncio.Event()
        self.ended = asyncio.Event()
        self._calls: asyncio.Queue[pb.Call] = asyncio.Queue()
        self._cancelled: asyncio.Queue[int] = asyncio.Queue()
        self._to_send: asyncio.Queue[Any] = asyncio.Queue()

    async def call(self) -> pb.Call:
        """The next call that comes."""
        async with asyncio.timeout(10):
            return await self._calls.get()

    async def cancelled(self) -> int:
        """The next call that is cancelled."""
        async with asyncio.timeout(10):
            return await self._cancelled.get()

    @property
    def has_calls(self) -> bool:
        """Whether calls have come that were not looked at."""
        return not self._calls.empty()

    def send(self, *answers: pb.Answer, leaving: bool = False) -> None:
        self._to_send.put_nowait(pb.ExchangeResponse(answers=answers, leaving=leaving))

    def answer(self, call: pb.Call, response: Any, request_id: str = "") -> None:
        self.send(pb.Answer(id=call.id, response=response.SerializeToString(), request_id=request_id))

    def fail(self, call: pb.Call, code: grpc.StatusCode, reason: str | None = None) -> None:
        status = Status(code=code.value[0], message="text of the service")
        if reason is not None:
            status.details.add().Pack(ErrorInfo(domain="tenantrooms", reason=reason))
        self.send(pb.Answer(id=call.id, status=status.SerializeToString(), request_id="id-1"))

    def end(self, code: grpc.StatusCode = grpc.StatusCode.OK) -> None:
        self._to_send.put_nowait(code)

    async def run(self, requests: AsyncIterator[pb.ExchangeRequest], context: Context) -> AsyncIterator[Any]:
        reader = asyncio.create_task(self._read(requests))
        try:
            while not isinstance(frame := await self._to_send.get(), grpc.StatusCode):
                yield frame
            if frame is not grpc.StatusCode.OK:
                await context.abort(frame, "as the test says")
        finally:
            reader.cancel()
            self.ended.set()

    async def _read(self, requests: AsyncIterator[pb.ExchangeRequest]) -> None:
        async for frame in requests:
            self.frames += bool(frame.calls)
            for call in frame.calls:
                self._calls.put_nowait(call)
            for call_id in frame.cancelled:
                self._cancelled.put_nowait(call_id)
        self.half_closed.set()


class FakeRelay(RelayServicer):
    """Takes streams, or refuses them.

    Attributes:
        refusal: the code that new streams end with at once.
        greets: whether new streams get their first frame.
        opened: how many streams there were.
    """

    def __init__(
        self, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self._server = grpc.aio.server(
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 * 1024)]
        )
        add_RelayServicer_to_server(self, self._server)
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        self.address = f"127.0.0.1:{port}"
        self.refusal: grpc.StatusCode | None = None
        self.greets = True
        self.opened = 0
        self._streams: asyncio.Queue[FakeStream] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)

    async def stream(self) -> FakeStream:
        """The next stream that is opened."""
        async with asyncio.timeout(10):
            return await self._streams.get()

    async def Exchange(self, requests: Any, context: Context) -> AsyncIterator[Any]:  # noqa: N802
        self.opened += 1
        if self.refusal is not None:
            await context.abort(self.refusal, "as the test says")
        names = context.auth_context().get("x509_common_name", [b""])
        stream = FakeStream(next(iter(names)).decode())
        if self.greets:
            stream.send()
        self._streams.put_nowait(stream)
        async with contextlib.aclosing(stream.run(requests, context)) as frames:  # type: ignore[type-var]
            async for frame in frames:
                yield frame


def exchanges(channel: grpc.aio.Channel) -> Any:
    """What starts an exchange on this channel."""
    return RelayStub(channel).Exchange
