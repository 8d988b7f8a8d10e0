"""Owns the wiring: builds the service's objects and binds its address.

Step before: `service.serving`. Step after: a call passes the interceptors in their order here.
"""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from common.rates import open_rates
from common.settings import SettingsError
from common.version import package_version
from service.audit import AuditInterceptor
from service.audit_log import open_audit_log
from service.auth.authenticator import Authenticator
from service.authentication import AuthenticationInterceptor
from service.authentication_wiring import longest_use_seconds, open_authenticator, open_lasting
from service.call_log import CallLog
from service.call_metrics import CallMetrics
from service.call_watch import CallWatch
from service.certificates import Certificates
from service.client_address import ClientAddresses
from service.directory import Directory, UnconfiguredDirectory
from service.error_boundary import OUTCOMES, ErrorBoundary
from service.even_answers import EvenAnswers
from service.health import Health
from service.listener import ListenerTls, bind, connection_options
from service.livekit import LiveKit
from service.livekit_retry import RetryingTransport
from service.livekit_tokens import AccessTokens
from service.livekit_transport import open_transport
from service.metrics import Metrics
from service.overload import OverloadGuard
from service.ownership import owner_of
from service.places import MOST_WAIT_SECONDS
from service.readiness import Readiness
from service.relay.calls import RelayedCalls, handlers_of
from service.relay.servicer import Relay
from service.reloading import Generations
from service.rooms import RoomDirectory, Rooms
from service.servicer import Servicer, room_summary
from service.settings import Settings
from service.tenant_limits import TenantLimits
from service.upstream_http import Trust, trusting
from service.upstream_watch import UpstreamWatch, WatchedDirectory, WatchedSource
from tenantrooms.relay.v1.relay_pb2_grpc import add_RelayServicer_to_server
from tenantrooms.v1 import tenant_rooms_pb2
from tenantrooms.v1.tenant_rooms_pb2_grpc import add_TenantRoomsServicer_to_server

if TYPE_CHECKING:
    from service.tracing import Tracing

SERVICE_NAME: Final = tenant_rooms_pb2.DESCRIPTOR.services_by_name["TenantRooms"].full_name

METADATA_OPTIONS: Final[Sequence[tuple[str, int]]] = (
    # A token may be 8 KiB long, and the edge forwards up to 32 KiB of headers, which grow when encoded.
    ("grpc.max_metadata_size", 128 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
)
"""How much metadata a call may have."""

_OPTIONS: Final[Sequence[tuple[str, int]]] = (
    *METADATA_OPTIONS,
    # Two servers must not share one port unnoticed.
    ("grpc.so_reuseport", 0),
    # A request is two short texts; what is larger is refused before it is read.
    ("grpc.max_receive_message_length", 64 * 1024),
    # Each takes memory before it counts as a call: it need not send its request, nor read its answer.
    ("grpc.max_concurrent_streams", 1_024),
    # Clients may check an idle connection every 20 s, not more often.
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

# How long a relay stream takes calls where connections end by age.
_STREAM_SECONDS: Final = 10.0


class RunningServer(NamedTuple):
    """A server that accepts calls.

    Attributes:
        server: the gRPC server.
        health: what it says of itself.
        take_up: puts other secrets, keys and certificates into effect for what comes after, all or none.
        relay: the streams between the edges and this service.
    """

    server: grpc.aio.Server
    health: Health
    take_up: Callable[[Settings], Awaitable[None]]
    relay: Relay


@asynccontextmanager
async def running_server(
    settings: Settings,
    metrics: Metrics | None = None,
    health: Health | None = None,
    call_log: CallLog | None = None,
) -> AsyncIterator[RunningServer]:
    """A server that accepts calls as these settings say, until the context ends.

    Args:
        settings: those in force at first.
        metrics: where it counts what happens.
        health: where it says how it is.
        call_log: where it records calls.

    Raises:
        SettingsError: a certificate is not valid now.
        CannotStart: the address could not be bound, or the audit log's file not be opened.
    """
    settings.check_dates(None, dt.datetime.now(dt.UTC))
    metrics, health = metrics or Metrics(), health or Health(SERVICE_NAME)
    async with _open_tracing(settings) as tracing:
        upstream = UpstreamWatch(metrics.registry, tracing)
        calls = CallMetrics(metrics.registry, OUTCOMES, settings.metrics_tenants)
        watch = CallWatch(call_log, calls, tracing)
        async with _serving(settings, metrics, health, watch, upstream) as running:
            yield running


@asynccontextmanager
async def _serving(
    settings: Settings, metrics: Metrics, health: Health, watch: CallWatch, upstream: UpstreamWatch
) -> AsyncIterator[RunningServer]:
    tokens = AccessTokens(*settings.livekit_key)
    trust = Trust(trusting(settings.livekit_ca))
    tls = ListenerTls(settings.grpc_certificates) if settings.grpc_certificates else None
    async with (
        EvenAnswers() as even_answers,
        open_audit_log(settings.audit_log, metrics.audit_recorded) as audit_log,
        _open_livekit(settings, tokens, trust, upstream) as livekit,
        _open_directory(settings, livekit, metrics, upstream, even_answers) as directory,
        open_lasting(settings, metrics.key_set_fetched, metrics.refused) as lasting,
        open_rates(
            settings.tenant_rates, settings.rate_store, "TENANTROOMS_RATE_STORE_URL", metrics.rate_store_asked
        ) as rates,
        Generations() as generations,
    ):

        async def open_for(settings: Settings) -> Authenticator:
            return await generations.open(
                open_authenticator(settings, lasting, upstream), longest_use_seconds(settings)
            )

        authentication = AuthenticationInterceptor(
            await open_for(settings), ClientAddresses(settings.trusted_edges)
        )

        in_use = settings

        async def take_up(new: Settings) -> None:
            nonlocal in_use
            if new.livekit_configured != settings.livekit_configured:
                raise SettingsError(["LIVEKIT_API_KEY has come or gone, which takes a restart"])
            new.check_dates(in_use, dt.datetime.now(dt.UTC))
            livekit_trust = _context(trust, in_use.livekit_ca, new.livekit_ca)
            keys_trust = _context(lasting.keys_trust, in_use.oidc_ca, new.oidc_ca)
            authenticator = await open_for(new)
            # From here on nothing waits and nothing fails: no call sees one of them without the others.
            in_use = new
            authentication.authenticator = authenticator
            tokens.sign_with(*new.livekit_key)
            trust.context = livekit_trust
            lasting.keys_trust.context = keys_trust
            if tls is not None and new.grpc_certificates is not None:
                tls.show(new.grpc_certificates)

        most = settings.max_calls
        interceptors = [
            ErrorBoundary(watch),
            OverloadGuard(most, metrics.refused),
            authentication,
            TenantLimits(
                most, settings.max_calls_per_tenant, settings.max_running_calls, rates, metrics.refused
            ),
            AuditInterceptor(audit_log),
        ]
        age = settings.grpc_max_connection_age_seconds
        # A stream stays on its connection, so where connections end by age, streams end sooner still: each
        # within the time that calls under way have then.
        stream_seconds = None if age is None else min(age, _STREAM_SECONDS)
        grace = _longest_call_seconds(settings) + (stream_seconds or 0)
        server = grpc.aio.server(
            interceptors=interceptors, options=[*_OPTIONS, *connection_options(age, grace)]
        )
        servicer = Servicer(Rooms(directory, settings.list_consistency, even_answers))
        add_TenantRoomsServicer_to_server(servicer, server)
        relay = Relay(RelayedCalls(interceptors, handlers_of(servicer)), stream_seconds)
        metrics.relay_is(lambda: relay.streams, lambda: relay.calls)
        if settings.relay:
            add_RelayServicer_to_server(relay, server)
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        if settings.reflection:
            names = (SERVICE_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        bind(server, settings.grpc_listen, tls)
        readiness = Readiness(livekit, partial(_readiness_changed, health, metrics))
        asking = asyncio.create_task(readiness.run())
        await server.start()
        try:
            yield RunningServer(server, health, take_up, relay)
        finally:
            asking.cancel()
            await server.stop(None)


def _context(trust: Trust, before: Certificates | None, now: Certificates | None) -> ssl.SSLContext:
    """What checks connections from now on; the same one for the same authorities, so that they stay open."""
    return trust.context if now == before else trusting(now)


def _longest_call_seconds(settings: Settings) -> float:
    """How long one call can take: its authentication, its turn, then three questions to LiveKit in turn.

    Each waits for a question under way, and then for its own; the one about participants has to wait for its
    turn, too.
    """
    return longest_use_seconds(settings) + MOST_WAIT_SECONDS + 4 * 2 * settings.livekit_timeout_seconds


def _readiness_changed(health: Health, metrics: Metrics, ready: bool) -> None:
    health.become(ready)
    metrics.readiness_changed(ready)


@asynccontextmanager
async def _open_livekit(
    settings: Settings, tokens: AccessTokens, trust: Trust, upstream: UpstreamWatch
) -> AsyncIterator[LiveKit | None]:
    """LiveKit, if there is a key for it."""
    if not settings.livekit_configured:
        yield None
        return
    seconds = settings.livekit_timeout_seconds
    async with open_transport(
        settings.livekit_url, seconds, settings.livekit_max_response_bytes, trust
    ) as transport:
        yield LiveKit(RetryingTransport(transport, seconds, upstream.retried), tokens)


@asynccontextmanager
async def _open_directory(
    settings: Settings,
    livekit: LiveKit | None,
    metrics: Metrics,
    upstream: UpstreamWatch,
    even_answers: EvenAnswers,
) -> AsyncIterator[RoomDirectory]:
    if livekit is None:
        yield UnconfiguredDirectory()
        return
    directory = Directory(
        WatchedSource(livekit, upstream),
        owner_of,
        room_summary,
        settings.index_interval_seconds,
        metrics.rooms_scanned,
        turn_seconds=settings.livekit_timeout_seconds,
        refused=metrics.refused,
        undisturbed=even_answers.let_pass,
    )
    try:
        yield WatchedDirectory(directory, upstream)
    finally:
        await directory.close()


@asynccontextmanager
async def _open_tracing(settings: Settings) -> "AsyncIterator[Tracing | None]":
    if settings.traces_endpoint is None:
        yield None
        return
    from service.tracing import open_tracing  # noqa: PLC0415 - an optional extra

    async with open_tracing(settings.traces_endpoint, settings.traces_ratio, package_version()) as tracing:
        yield tracing
