"""Owns where metrics and health can be read: prometheus-client's own HTTP server, in threads of its own.

Step before: `service.serving`, at start. Step after: `service.metrics` and `service.health_pages` hold what
is shown.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry, start_http_server

from common.addresses import HostPort
from service.health_pages import KnownHealth, with_health_pages
from service.start_errors import AddressInUse

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


@asynccontextmanager
async def open_metrics_listener(
    registry: CollectorRegistry, health: KnownHealth, address: HostPort
) -> AsyncIterator[int]:
    """Shows this registry and this health at this address until the context ends; gives the port.

    Args:
        registry: the metrics.
        health: what `/livez` and `/readyz` tell.
        address: where; port 0 takes any that is free.

    Raises:
        AddressInUse: the address could not be bound.
    """
    try:
        # In a thread, as it asks for the name of the host.
        server, thread = await asyncio.to_thread(
            start_http_server, address.port, addr=address.host, registry=registry
        )
    except OSError as error:
        raise AddressInUse(str(address), "TENANTROOMS_METRICS_LISTEN") from error
    metrics = cast("WSGIApplication", server.get_app())
    server.set_app(with_health_pages(health, metrics))
    try:
        yield server.server_port
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
