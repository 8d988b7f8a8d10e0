"""Owns where the metrics can be read: prometheus-client's own HTTP server, in threads of its own.

Step before: `service.server`, at start. Step after: `service.metrics` holds what is shown.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, start_http_server

from service.settings.observability import HostPort
from service.start_errors import AddressInUse


@asynccontextmanager
async def open_metrics_listener(registry: CollectorRegistry, address: HostPort) -> AsyncIterator[int]:
    """Shows this registry at this address until the context ends; gives the port.

    Args:
        registry: what is shown.
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
    try:
        yield server.server_port
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
