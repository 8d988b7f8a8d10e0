"""Owns what one worker process of granian runs.

Before it: `__main__`. After it: `app`. This module is loaded by the workers only: gRPC does not survive a
fork.
"""

from edge.app import create_app
from edge.asgi import Edge
from edge.logs import configure_logs
from edge.settings import EdgeSettings
from edge.stopping import stop_worker_on_first_signal
from tenantrooms_client import TenantRoomsClient


def load_worker(settings: EdgeSettings) -> Edge:
    """The application, with a client of the service that the settings name."""
    stop_worker_on_first_signal()
    configure_logs()
    return create_app(
        settings, lambda: TenantRoomsClient(settings.grpc_target, timeout=settings.timeout_seconds)
    )
