"""Owns the edge's traces: a span for each request, sent by OTLP over HTTP, and the context for the service.

Used only where an endpoint is set, as OpenTelemetry is an optional extra. A span says
the route, the status and the request id: no path, no query, no header and no room's name.

A caller's `traceparent` names the trace, but does not decide whether it is kept: anybody could have all
kept. Before it: `watch`. After it: the collector, and the service, which heeds what was decided here.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from opentelemetry import trace
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode

from common.tracing import open_tracer, trace_named_by, traceparent_of


class RequestSpan:
    """The span of a request; see `edge.watch.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """For the service."""
        return traceparent_of(self._span)

    def end(self, route: str, status: int, reason: str | None) -> None:
        """The request has ended."""
        self._span.update_name(f"GET {route}")
        self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if reason is not None:
            self._span.set_attribute("error.type", reason)
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class Tracing:
    """Begins spans.

    Args:
        tracer: makes them.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def begin(self, request_id: str, headers: Iterable[tuple[bytes, bytes]]) -> RequestSpan:
        """The span of a request, in the trace that its one `traceparent` names, else in a new one."""
        sent = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
        attributes = {"tenantrooms.request_id": request_id}
        return RequestSpan(
            self._tracer.start_span("request", trace_named_by(sent), SpanKind.SERVER, attributes)
        )


@asynccontextmanager
async def open_tracing(
    endpoint: str, ratio: float, version: str, exporter: SpanExporter | None = None
) -> AsyncIterator[Tracing]:
    """What begins spans, until the context ends; then those that are left are sent.

    Args:
        endpoint: the whole address to which they are sent, as `http://127.0.0.1:4318/v1/traces`.
        ratio: the part of all traces that is kept.
        version: of the edge.
        exporter: sends them, in place of OTLP.
    """
    sampler = TraceIdRatioBased(ratio)
    async with open_tracer("edge", version, sampler, endpoint, exporter) as tracer:
        yield Tracing(tracer)
