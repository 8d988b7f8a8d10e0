"""Owns what one worker process of granian runs.

Before it: `__main__`. After it: `app`. This module is loaded by the workers only: gRPC does not survive a
fork.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from common import memory
from common.logs import configure_logs
from common.quick_log import quick_writer
from common.version import package_version
from edge.app import create_app
from edge.asgi import Edge
from edge.leaving import Leave, Stopping
from edge.numbers import Rows
from edge.readiness import Readiness
from edge.relay.client import open_relay
from edge.rooms import RoomsClient
from edge.service_client import ServiceClient
from edge.settings import EdgeSettings
from edge.stopping import stop_worker_on_first_signal
from edge.tls_files import ServiceTls, TlsFiles
from edge.watch import RequestWatch, Tracing

_READY_SECONDS: Final = 0.05


def load_worker(
    settings: EdgeSettings,
    service_files: TlsFiles[ServiceTls] | None,
    rows: Rows,
    listener: int,
    stopping: Stopping,
    *,
    ready: Callable[[], object],
) -> Edge:
    """The application, with a client of the service that the settings name.

    Args:
        settings: how it behaves.
        service_files: what TLS towards the service is spoken with, if it is.
        rows: where it counts.
        listener: the descriptor of its listening socket.
        stopping: whether the edge as a whole is about to end.
        ready: is called once this worker serves.
    """
    configure_logs(settings.log_level)
    readiness = Readiness()
    row = rows.claim()
    watch = RequestWatch(row, service=settings.grpc_target)

    @asynccontextmanager
    async def open_client() -> AsyncIterator[RoomsClient]:
        async with (
            _open_tracing(settings) as tracing,
            ServiceClient(settings, service_files) as service,
            open_relay(service.exchange, service, row) as client,
        ):
            watch.opened(quick_writer(settings.log_level, asyncio.get_running_loop()), tracing)
            service.on_change = client.renew
            asking = asyncio.create_task(readiness.run(service.unready))
            # granian lets the loop rest between the application's start, of which this is the end, and the
            # moment in which it listens. So this comes to pass only then.
            asyncio.get_running_loop().call_later(_READY_SECONDS, ready)
            memory.settle()
            try:
                yield client
            finally:
                asking.cancel()
                watch.close()

    leave = Leave(listener, stopping, settings.announce_seconds)
    stop_worker_on_first_signal(leave)
    return create_app(
        settings,
        open_client,
        leaves=lambda: leave.begun,
        refused=lambda limit: row.refused(limit.value),
        rate_store_asked=row.rate_store_asked,
        ready=lambda: readiness.ready,
        watch=watch,
    )


@asynccontextmanager
async def _open_tracing(settings: EdgeSettings) -> AsyncIterator[Tracing | None]:
    if settings.traces_endpoint is None:
        yield None
        return
    from edge.tracing import open_tracing  # noqa: PLC0415 - an optional extra

    async with open_tracing(settings.traces_endpoint, settings.traces_ratio, package_version()) as tracing:
        yield tracing
