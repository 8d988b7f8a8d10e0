"""A TenantRooms service over real gRPC that records its calls and answers as it is told."""

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_status import rpc_status

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1.tenant_rooms_pb2_grpc import TenantRoomsServicer, add_TenantRoomsServicer_to_server

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Recorded:
    """One call that arrived; `client` is the name in the client's certificate."""

    request: pb.ListRoomsRequest | pb.GetRoomRequest
    metadata: tuple[tuple[str, str | bytes], ...]
    seconds_left: float
    client: str | None

    def sent(self, name: str) -> list[str | bytes]:
        return [value for key, value in self.metadata if key == name]


@dataclass(frozen=True)
class Failure:
    """A code, with the ErrorInfo of the contract where there is a reason."""

    code: grpc.StatusCode
    reason: str | None = None


@dataclass
class _Script:
    rooms: list[pb.RoomSummary] = field(default_factory=list)
    details: dict[str, pb.GetRoomResponse] = field(default_factory=dict)
    failure: Failure | None = None
    hold: asyncio.Event | None = None
    tokens: frozenset[str] | None = None
    calls: list[Recorded] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)


class FakeService(TenantRoomsServicer):
    """Pages through `rooms`, gives `details`, or fails with `failure`; before that it waits for `hold`.

    Where there are `tokens`, it accepts no others. Plain text without credentials.
    """

    def __init__(
        self, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self._server = grpc.aio.server(
            options=[("grpc.so_reuseport", 0), ("grpc.max_metadata_size", 131_072)]
        )
        add_TenantRoomsServicer_to_server(self, self._server)
        self._health: Any = health.aio.HealthServicer()
        add_HealthServicer_to_server(self._health, self._server)
        host = address.rpartition(":")[0]
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        self.address = f"{host}:{port}"
        self.script = _Script()

    async def __aenter__(self) -> Self:
        await self.be_ready(True)
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(None)

    async def be_ready(self, ready: bool) -> None:
        """What it says of its health from now on."""
        status = HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
        await self._health.set("tenantrooms.v1.TenantRooms", status)

    def reset(self) -> None:
        self.script = _Script()

    @property
    def calls(self) -> list[Recorded]:
        return self.script.calls

    @property
    def names(self) -> list[str]:
        """The room names asked for."""
        return [call.request.room_name for call in self.calls if isinstance(call.request, pb.GetRoomRequest)]

    async def ListRooms(self, request: pb.ListRoomsRequest, context: Context) -> pb.ListRoomsResponse:  # noqa: N802
        script = await self._enter(request, context)
        start, size = int(request.page_token or 0), min(request.page_size or 1_000, 50_000)
        more = start + size < len(script.rooms)
        return pb.ListRoomsResponse(
            rooms=script.rooms[start : start + size], next_page_token=str(start + size) if more else ""
        )

    async def GetRoom(self, request: pb.GetRoomRequest, context: Context) -> pb.GetRoomResponse:  # noqa: N802
        script = await self._enter(request, context)
        found = script.details.get(request.room_name)
        if found is None:
            await _fail(context, Failure(grpc.StatusCode.NOT_FOUND, "ROOM_NOT_FOUND"))
        assert found is not None
        return found

    async def _enter(self, request: pb.ListRoomsRequest | pb.GetRoomRequest, context: Context) -> _Script:
        script = self.script
        metadata = tuple((str(key), value) for key, value in context.invocation_metadata() or ())
        client = next((name.decode() for name in context.auth_context().get("x509_common_name", ())), None)
        script.calls.append(Recorded(request, metadata, context.time_remaining(), client))
        script.arrived.set()
        if script.hold is not None:
            try:
                await script.hold.wait()
            except asyncio.CancelledError:
                script.cancelled.set()
                raise
        if script.tokens is not None and not {f"Bearer {token}" for token in script.tokens} & {
            value for key, value in metadata if key == "authorization"
        }:
            await _fail(context, Failure(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_REJECTED"))
        if script.failure is not None:
            await _fail(context, script.failure)
        return script


async def _fail(context: Context, failure: Failure) -> None:
    text = "text of the service, for no caller's eyes"
    if failure.reason is None:
        await context.abort(failure.code, text)
    status = Status(code=failure.code.value[0], message=text)
    status.details.add().Pack(ErrorInfo(domain="tenantrooms", reason=failure.reason or ""))
    # As the real service: its errors are meant, and not to be tried again.
    context.set_trailing_metadata((("grpc-retry-pushback-ms", "-1"),))
    await context.abort_with_status(rpc_status.to_status(status))
