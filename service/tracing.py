"""Owns traces: a span for each call, and one for each question to LiveKit, sent by OTLP over HTTP.

Used only where an endpoint is set, as OpenTelemetry is an optional extra. A span says which rpc or question
it was, how it ended and its request id: no credential, no tenant, no room's name.

Step before: `service.call_watch` and `service.upstream_watch`. Step after: the collector.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

from opentelemetry import trace
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode

from common.tracing import open_tracer, trace_named_by, traceparent_of
from service.flights import ABOARD
from service.metadata import Metadata, values_of
from service.upstream_watch import NO_FAILURES

MOST_LINKS: Final = 32
"""A question that more calls share is linked with so many of them."""

_FAULTS: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"})


class CallSpan:
    """The span of a call; see `service.call_watch.Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def end(self, code: str, reason: str, upstream_calls: int) -> None:
        """The call has ended."""
        self._span.set_attribute("rpc.response.status_code", code)
        self._span.set_attribute("tenantrooms.upstream_calls", upstream_calls)
        if reason:
            self._span.set_attribute("error.type", reason)
        if code in _FAULTS:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class QuestionSpan:
    """The span of a question; see `service.upstream_watch.QuestionSpan`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """For who is asked."""
        return traceparent_of(self._span)

    def end(self, outcome: str) -> None:
        """The question has been answered, or not."""
        self._span.set_attribute("tenantrooms.outcome", outcome)
        if outcome not in NO_FAILURES:
            self._span.set_attribute("error.type", outcome)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class Tracing:
    """Begins spans.

    Args:
        tracer: makes them.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def begin(self, method: str, request_id: str, metadata: Metadata) -> CallSpan:
        """The span of a call, in the trace that its `traceparent` names; what is asked for it is too."""
        name = method.removeprefix("/")
        span = self._tracer.start_span(
            name,
            trace_named_by(values_of(metadata, "traceparent")),
            SpanKind.SERVER,
            {"rpc.system.name": "grpc", "rpc.method": name, "tenantrooms.request_id": request_id},
        )
        ABOARD.set((span.get_span_context(),))
        return CallSpan(span)

    def question(self, name: str, question: str, callers: Sequence[object]) -> QuestionSpan:
        """The span of a question that these calls wait for: part of the first one's, linked with the rest."""
        contexts = cast("Sequence[SpanContext]", callers)
        parent = trace.set_span_in_context(NonRecordingSpan(contexts[0])) if contexts else None
        span = self._tracer.start_span(
            f"livekit {name}" if name != question else name,
            parent,
            SpanKind.CLIENT,
            {"rpc.method": name, "tenantrooms.question": question, "tenantrooms.callers": len(contexts)},
            [Link(context) for context in contexts[1 : MOST_LINKS + 1]],
        )
        return QuestionSpan(span)


@asynccontextmanager
async def open_tracing(
    endpoint: str, ratio: float, version: str, exporter: SpanExporter | None = None
) -> AsyncIterator[Tracing]:
    """What begins spans, until the context ends; then those that are left are sent.

    Args:
        endpoint: the whole address to which they are sent, as `http://127.0.0.1:4318/v1/traces`.
        ratio: the part of the traces that begin here which is kept; of others, what their beginner kept.
        version: of the service.
        exporter: sends them, in place of OTLP.
    """
    sampler = ParentBased(TraceIdRatioBased(ratio))
    async with open_tracer("service", version, sampler, endpoint, exporter) as tracer:
        yield Tracing(tracer)
