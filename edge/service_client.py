"""Owns the connection to the service: which channel is in use, and when another takes its place.

Before it: `relay`, for each stream and for calls that are made without one. After it: the typed client.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from edge.readiness import Problem
from edge.relay.stream import Exchange
from edge.settings import EdgeSettings
from edge.tls_files import LOOK_SECONDS, ServiceTls, TlsFiles, UnusableFilesError
from tenantrooms.relay.v1.relay_pb2_grpc import RelayStub
from tenantrooms.v1 import tenant_rooms_pb2
from tenantrooms.v1.tenant_rooms_pb2 import GetRoomResponse, ListRoomsResponse
from tenantrooms_client import TenantRoomsClient
from tenantrooms_client.channel import open_channel

_SERVICE_NAME: Final = tenant_rooms_pb2.DESCRIPTOR.services_by_name["TenantRooms"].full_name
_NOT_READY: Final = Problem("the service is there and not ready: its log says why", certain=True)
_REPLACED: Final = Problem("the connection to the service is being replaced", certain=False)

_log = structlog.get_logger(__name__)


class ServiceClient:
    """The client of the service, with a new channel whenever the TLS files have been replaced.

    A call stays with the channel that it began with. Open it with `async with`.

    Args:
        settings: where the service is, and how long a call may take.
        files: what TLS is spoken with; None is plain text.
        look_seconds: between two looks at the files.

    Attributes:
        on_change: called when new channels have taken the place of the old, which are closed after the time
            that calls may take.
    """

    def __init__(
        self, settings: EdgeSettings, files: TlsFiles[ServiceTls] | None, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._settings = settings
        self._files = files
        self._look_seconds = look_seconds
        self.on_change: Callable[[], object] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.current, self._channel = self._open()
        if self._files is not None:
            self._start(self._watch(self._files))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.current.close()
        await self._channel.close()

    def exchange(self) -> Exchange:
        """Starts an exchange by relay."""
        return RelayStub(self._channel).Exchange()

    async def unready(self, timeout: float) -> Problem | None:
        """Why the service cannot answer callers now, as far as it can be told; None if it can."""
        stub: Any = HealthStub(self._channel)
        try:
            answer = await stub.Check(HealthCheckRequest(service=_SERVICE_NAME), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            text = f"the service at {self._settings.grpc_target} does not answer: {error.code().name}"
            return Problem(text, certain=error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return _REPLACED
        return None if answer.status == HealthCheckResponse.SERVING else _NOT_READY

    async def list_rooms_page(
        self,
        *,
        page_size: int,
        page_token: str,
        token: str | None,
        timeout: float | None,
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> ListRoomsResponse:
        """One page of the caller's rooms; raises TenantRoomsError."""
        return await self.current.list_rooms_page(
            page_size=page_size, page_token=page_token, token=token, timeout=timeout, metadata=metadata
        )

    async def get_room(
        self,
        room_name: str,
        *,
        token: str | None,
        timeout: float | None,
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> GetRoomResponse:
        """One room with its participants; raises TenantRoomsError."""
        return await self.current.get_room(room_name, token=token, timeout=timeout, metadata=metadata)

    def _open(self) -> tuple[TenantRoomsClient, grpc.aio.Channel]:
        target, server_name = self._settings.grpc_target, self._settings.grpc_server_name
        credentials = None if self._files is None else _credentials(self._files.value)
        unary = TenantRoomsClient(
            target, timeout=self._settings.timeout_seconds, credentials=credentials, server_name=server_name
        )
        return unary, open_channel(target, credentials, server_name)

    async def _watch(self, files: TlsFiles[ServiceTls]) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            try:
                if await asyncio.to_thread(files.look):
                    old, channel = self.current, self._channel
                    self.current, self._channel = self._open()
                    self.on_change()
                    self._start(old.close(self._settings.timeout_seconds))
                    self._start(channel.close(self._settings.timeout_seconds))
                    _log.info("tls_files_taken_up", files="of the connection to the service")
            except UnusableFilesError as error:
                _log.error("tls_files_refused", files="of the connection to the service", problem=str(error))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _credentials(tls: ServiceTls) -> grpc.ChannelCredentials:
    if tls.pair is None:
        return grpc.ssl_channel_credentials(tls.authorities)
    return grpc.ssl_channel_credentials(tls.authorities, tls.pair.key, tls.pair.certificates)
