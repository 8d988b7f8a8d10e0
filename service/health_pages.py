"""Owns the service's health over plain HTTP, for whoever cannot ask by gRPC: `/livez` and `/readyz`.

Step before: `service.metrics_listener` shows them beside the metrics. Step after: `service.health` knows.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_OK: Final = ("200 OK", b'{"status":"OK"}')
_NOT_READY: Final = ("503 Service Unavailable", b'{"error":"Not ready"}')


class KnownHealth(Protocol):
    """Who knows: `service.health.Health`. Read by other threads than the event loop's."""

    @property
    def ready(self) -> bool:
        """Whether callers can be answered."""
        ...


def with_health_pages(health: KnownHealth, app: "WSGIApplication") -> "WSGIApplication":
    """The same application, with the two pages in front of it."""
    pages: dict[str, Callable[[], tuple[str, bytes]]] = {
        "/livez": lambda: _OK,
        "/readyz": lambda: _OK if health.ready else _NOT_READY,
    }

    def serve(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        page = pages.get(environ["PATH_INFO"])
        if page is None or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return app(environ, start_response)
        status, body = page()
        fields = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(status, fields)
        return [body] if environ["REQUEST_METHOD"] == "GET" else []

    return serve
