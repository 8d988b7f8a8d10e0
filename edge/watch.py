"""Owns what is told of each request once it has ended: one record in the log, the counts, and its span.

Before it: `asgi`, which tells when a request comes and how it ended. After it: `numbers`,
`common.quick_log`, and `tracing` where it is switched on.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic, perf_counter
from typing import Any, Final, Protocol

from common.floods import LEFT_OUT, Floods
from common.quick_log import WriteRecord, write_slowly
from edge.numbers import Row, lone_row
from edge.paths import DETAILS_PLACEHOLDER, DOCS_PATH, DOCUMENT_PATH, HOME_PATH, LIST_PATH

GONE: Final = 499
"""Stands for the status of a request whose caller hung up."""

_ROUTES: Final = {
    HOME_PATH: "home",
    LIST_PATH: "rooms",
    DETAILS_PLACEHOLDER: "room",
    DOCS_PATH: "docs",
    DOCUMENT_PATH: "docs",
}
_RPCS: Final = {"rooms": "ListRooms", "room": "GetRoom"}


class Span(Protocol):
    """What tracing keeps of a request.

    Attributes:
        traceparent: hands it on, as W3C Trace Context says.
    """

    @property
    def traceparent(self) -> str: ...  # noqa: D102

    def end(self, route: str, status: int, reason: str | None) -> None:
        """The request has ended."""
        ...


class Tracing(Protocol):
    """What begins spans: `edge.tracing`."""

    def begin(self, request_id: str, headers: Iterable[tuple[bytes, bytes]]) -> Span:
        """The span of a request."""
        ...


class Seen:
    """What has been seen of a request so far.

    Attributes:
        route: which it is, one of `numbers.ROUTES`.
        code: the name of the status of the service's answer; None where it was not asked.
        reason: why the request was refused or failed, by the service or the edge; None where it was not.
        limit: over which of the edge's limits it is, if any.
        traceparent: for the service; None where requests are not traced.
    """

    __slots__ = ("began", "code", "limit", "method", "reason", "request_id", "route", "span", "traceparent")

    def __init__(self, request_id: str, method: str) -> None:
        self.request_id = request_id
        self.method = method
        self.began = perf_counter()
        self.route = "other"
        self.code: str | None = None
        self.reason: str | None = None
        self.limit: str | None = None
        self.span: Span | None = None
        self.traceparent: str | None = None

    def found(self, path: str) -> None:
        """The request's route has this path, as `edge.paths` gives it."""
        self.route = _ROUTES.get(path) or ("docs" if path.startswith(DOCS_PATH) else "health")


class RequestWatch:
    """Told of each request.

    Args:
        row: counts them.
        quick: writes the records of requests that did not fail; structlog does if None.
        tracing: makes spans of them; None makes none.
        clock: rises by 1 a second.
        service: the address at which the service is called.
    """

    def __init__(
        self,
        row: Row | None = None,
        quick: WriteRecord | None = None,
        tracing: Tracing | None = None,
        clock: Callable[[], float] = monotonic,
        service: str = "its address",
    ) -> None:
        self._service = service
        self._row = row or lone_row()
        self._quick = quick or write_slowly
        self._tracing = tracing
        self._floods = Floods(clock, self._left_out)

    def opened(self, quick: WriteRecord | None, tracing: Tracing | None) -> None:
        """What only the running event loop can give: see the arguments of the class."""
        self._quick = quick or self._quick
        self._tracing = tracing

    def began(self, request_id: str, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Seen:
        """A request has come."""
        seen = Seen(request_id, method)
        self._row.began()
        if self._tracing is not None:
            with suppress(Exception):  # what cannot be traced is served all the same
                seen.span = self._tracing.begin(request_id, headers)
                seen.traceparent = seen.span.traceparent
        return seen

    def ended(self, seen: Seen, status: int) -> None:
        """A request has ended, with this status of its answer, or `GONE`."""
        with suppress(Exception):  # what cannot be recorded changes nothing for the caller
            seconds = perf_counter() - seen.began
            self._row.ended(seen.route, status, seconds)
            if seen.code is not None:
                self._row.called(_RPCS[seen.route], seen.code)
            if seen.span is not None:
                seen.span.end(seen.route, status, seen.reason)
            self._record(seen, status, seconds)

    def close(self) -> None:
        """Writes how many records were left out, of what has not been told yet."""
        self._floods.close()

    def _left_out(self, kind: Any, count: int) -> None:
        status, reason = kind
        record: dict[str, object] = {"event": LEFT_OUT, "status": status, "not_logged": count}
        self._quick("info", {**record, "reason": reason} if reason else record)

    def _record(self, seen: Seen, status: int, seconds: float) -> None:
        record: dict[str, object] = {
            "event": "request",
            "route": seen.route,
            "method": seen.method if seen.method in _METHODS else "other",
            "status": status,
            "request_id": seen.request_id,
            "ms": round(seconds * 1000, 2),
        }
        if seen.code is not None and seen.code != "OK":
            record["code"] = seen.code
        if seen.reason is not None:
            record["reason"] = seen.reason
        elif seen.code is not None and seen.code != "OK":
            record["problem"] = _NO_REASON.get(seen.code, _NOT_OURS).format(self._service)
        if seen.limit is not None:
            record["limit"] = seen.limit
        if status < 400:
            if seen.route not in _QUIET:
                self._quick("info", record)
            return
        if self._floods.let_through((status, seen.reason), record):
            self._quick("warning" if status >= 500 or status == 429 else "info", record)


# Of codes without a reason of TenantRooms' own: the service has not answered, or somebody else has.
_NO_REASON: Final = {
    "UNAVAILABLE": "the service at {} does not answer",
    "DEADLINE_EXCEEDED": "the service at {} did not answer within TENANTROOMS_EDGE_TIMEOUT_SECONDS",
}
_NOT_OURS: Final = "no answer as TenantRooms gives them: see what listens at {}, and what is between"

_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_QUIET: Final = frozenset({"home", "health"})
"""What probes ask for, again and again."""
