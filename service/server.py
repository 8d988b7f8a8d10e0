"""Owns the wiring: builds the service's objects, binds its address, and stops it without losing a call."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from service.auth.api_secrets import ApiSecrets
from service.authentication import AuthenticationInterceptor, Authenticator, Verifier
from service.directory import Directory, UnconfiguredDirectory
from service.error_boundary import ErrorBoundary
from service.health import Health
from service.livekit import LiveKit
from service.livekit_tokens import AccessTokens
from service.livekit_transport import open_transport
from service.ownership import owner_of
from service.request_id import RequestIds
from service.rooms import RoomDirectory, Rooms
from service.servicer import Servicer
from service.settings import Settings
from tenantrooms.v1 import tenant_rooms_pb2
from tenantrooms.v1.tenant_rooms_pb2_grpc import add_TenantRoomsServicer_to_server

SERVICE_NAME: Final = tenant_rooms_pb2.DESCRIPTOR.services_by_name["TenantRooms"].full_name

_OPTIONS: Final[Sequence[tuple[str, int]]] = (
    # Two servers must not share one port unnoticed.
    ("grpc.so_reuseport", 0),
    # A request is two short texts; what is larger is refused before it is read.
    ("grpc.max_receive_message_length", 64 * 1024),
    # A token may be 8 KiB long, which is all that gRPC's default leaves for metadata.
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 64 * 1024),
    # Clients may check an idle connection every 20 s, not more often.
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

# How long a client gets to hear that the service is leaving before its calls are refused.
_ANNOUNCE_SECONDS: Final = 0.5

_log = structlog.get_logger(__name__)


class AddressInUse(Exception):
    """The address to listen on could not be bound."""


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then drains. A second signal ends the drain at once.

    Raises:
        AddressInUse: the address could not be bound.
    """
    stop = _Signals(asyncio.get_running_loop())
    for warning in settings.warnings():
        _log.warning(warning)
    async with running_server(settings) as (server, health):
        _log.info("serving", address=settings.grpc_listen, livekit=settings.livekit_configured)
        await stop.first.wait()
        _log.info("draining", seconds=settings.drain_seconds)
        health.leave()
        drain = asyncio.create_task(_drain(server, settings.drain_seconds))
        second = asyncio.create_task(stop.second.wait())
        await asyncio.wait({drain, second}, return_when=asyncio.FIRST_COMPLETED)
        drain.cancel()
        second.cancel()
        await asyncio.wait({drain, second})
    if not drain.cancelled():
        drain.result()
    _log.info("stopped")


async def _drain(server: grpc.aio.Server, seconds: float) -> None:
    await asyncio.sleep(min(_ANNOUNCE_SECONDS, seconds))
    await server.stop(seconds)


@asynccontextmanager
async def running_server(
    settings: Settings,
) -> AsyncIterator[tuple[grpc.aio.Server, Health]]:
    """A server that accepts calls as these settings say, until the context ends.

    Raises:
        AddressInUse: the address could not be bound.
    """
    async with _open_directory(settings) as directory:
        verifiers: list[Verifier] = [ApiSecrets(settings.api_secrets)] if settings.api_secrets else []
        server = grpc.aio.server(
            interceptors=[
                ErrorBoundary(RequestIds()),
                AuthenticationInterceptor(Authenticator(verifiers, settings.auth_required)),
            ],
            options=_OPTIONS,
        )
        servicer = Servicer(Rooms(directory, settings.list_consistency))
        add_TenantRoomsServicer_to_server(servicer, server)
        health = Health(("", SERVICE_NAME))
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        if settings.reflection:
            names = (SERVICE_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        try:
            server.add_insecure_port(settings.grpc_listen)
        except RuntimeError as error:
            raise AddressInUse(settings.grpc_listen) from error
        await server.start()
        try:
            yield server, health
        finally:
            await server.stop(None)


@asynccontextmanager
async def _open_directory(settings: Settings) -> AsyncIterator[RoomDirectory]:
    if not settings.livekit_configured:
        yield UnconfiguredDirectory()
        return
    tokens = AccessTokens(
        settings.livekit_api_key.get_secret_value(), settings.livekit_api_secret.get_secret_value()
    )
    async with open_transport(
        settings.livekit_url, settings.livekit_timeout_seconds, settings.livekit_max_response_bytes
    ) as transport:
        yield Directory(LiveKit(transport, tokens), owner_of)


class _Signals:
    """Tells the first and the second signal to stop apart."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received)

    def _received(self) -> None:
        (self.second if self.first.is_set() else self.first).set()
