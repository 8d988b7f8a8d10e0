"""Calls over real gRPC, on the loopback address: small servers, and answers down to their trailers."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from service.server import METADATA_OPTIONS
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1.tenant_rooms_pb2_grpc import TenantRoomsServicer, add_TenantRoomsServicer_to_server

LIST_ROOMS: Final = "/tenantrooms.v1.TenantRooms/ListRooms"
GET_ROOM: Final = "/tenantrooms.v1.TenantRooms/GetRoom"

Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Behaviour: TypeAlias = Callable[[Any, Context], Awaitable[Any]]


@dataclass(frozen=True)
class Outcome:
    """All that a caller gets."""

    code: grpc.StatusCode
    details: str
    trailers: tuple[tuple[str, str | bytes], ...]
    body: bytes = b""

    @property
    def error_info(self) -> ErrorInfo:
        """The reason of a failure, which is its first detail."""
        info = ErrorInfo()
        assert self._status.details[0].Unpack(info)
        return info

    @property
    def retry_seconds(self) -> int | None:
        """When the caller may come again, if that is said: then it is the second detail."""
        if len(self._status.details) < 2:
            return None
        (_, detail) = self._status.details
        retry = RetryInfo()
        assert detail.Unpack(retry)
        return int(retry.retry_delay.seconds)

    @property
    def _status(self) -> Status:
        (raw,) = (value for key, value in self.trailers if key == "grpc-status-details-bin")
        assert isinstance(raw, bytes)
        status = Status.FromString(raw)
        assert (status.code, status.message) == (self.code.value[0], self.details)
        return status

    @property
    def reason(self) -> str:
        """`OK`, or the reason of the failure."""
        return "OK" if self.code is grpc.StatusCode.OK else str(self.error_info.reason)

    @property
    def request_id(self) -> str:
        """The one request id among the trailers."""
        (found,) = (value for key, value in self.trailers if key == "x-request-id")
        assert isinstance(found, str)
        return found

    @property
    def but_request_id(self) -> tuple[object, ...]:
        """Everything that must not differ between masked answers."""
        return (
            self.code,
            self.details,
            tuple(pair for pair in self.trailers if pair[0] != "x-request-id"),
            self.body,
        )

    @property
    def everything(self) -> bytes:
        """All of it as bytes, to look for what must not be there."""
        return repr((self.details, self.trailers)).encode() + self.body


async def call(
    channel: grpc.aio.Channel, rpc: str, request: Message | bytes = b"", metadata: Metadata = ()
) -> Outcome:
    """Makes one call; bytes are sent as they are."""
    raw = request if isinstance(request, bytes) else request.SerializeToString()
    method = channel.unary_unary(rpc, request_serializer=_same, response_deserializer=_same)
    pending = method(raw, metadata=tuple(metadata), timeout=10)
    try:
        body = await pending
    except grpc.aio.AioRpcError as failure:
        return Outcome(failure.code(), failure.details() or "", tuple(failure.trailing_metadata() or ()))
    trailers = tuple(await pending.trailing_metadata() or ())
    return Outcome(await pending.code(), await pending.details() or "", trailers, body)


async def get_room(channel: grpc.aio.Channel, name: str, token: str | None = None, **fields: Any) -> Outcome:
    """GetRoom, with this token."""
    return await call(channel, GET_ROOM, pb.GetRoomRequest(room_name=name, **fields), bearer(token))


def bearer(token: str | None) -> Metadata:
    """The metadata that carries a token."""
    return () if token is None else (("authorization", f"Bearer {token}"),)


@contextlib.asynccontextmanager
async def serving(
    servicer: TenantRoomsServicer | None,
    *interceptors: grpc.aio.ServerInterceptor,
    handlers: Sequence[grpc.GenericRpcHandler] = (),
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server with this servicer and these handlers, behind these interceptors."""
    server = grpc.aio.server(interceptors=interceptors, handlers=handlers, options=METADATA_OPTIONS)
    if servicer is not None:
        add_TenantRoomsServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)


class Scripted(TenantRoomsServicer):
    """A servicer whose rpcs do what a test says, and count their calls."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.calls = 0

    async def ListRooms(self, request: pb.ListRoomsRequest, context: Context) -> Any:  # noqa: N802
        self.calls += 1
        return await self.behaviour(request, context)

    async def GetRoom(self, request: pb.GetRoomRequest, context: Context) -> Any:  # noqa: N802
        self.calls += 1
        return await self.behaviour(request, context)


def _same(message: bytes) -> bytes:
    return message
