"""Owns how spans get to a collector, and how one process tells the next which trace a call belongs to.

Used only where an endpoint is set: OpenTelemetry is an optional extra, which only this and the `tracing` of
each process import.

Step before: `service.tracing` and `edge.tracing` make the spans. Step after: the collector.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_w3c: Final = TraceContextTextMapPropagator()


def traceparent_of(span: trace.Span) -> str:
    """What tells who is asked next that its spans belong to this one, as W3C Trace Context says."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, trace.set_span_in_context(span))
    return carrier["traceparent"]


def trace_named_by(sent: Sequence[str]) -> Context:
    """The trace that the one `traceparent` among these names; of a new one if there is none, or several."""
    return _w3c.extract({"traceparent": sent[0]} if len(sent) == 1 else {})


@asynccontextmanager
async def open_tracer(
    process: str, version: str, sampler: Sampler, endpoint: str, exporter: SpanExporter | None
) -> AsyncIterator[trace.Tracer]:
    """What makes spans, until the context ends; then those that are left are sent.

    Args:
        process: which of them this is, `edge` or `service`.
        version: of it.
        sampler: says which traces are kept.
        endpoint: the whole address to which they are sent, as `http://127.0.0.1:4318/v1/traces`.
        exporter: sends them, in place of OTLP.
    """
    provider = TracerProvider(
        sampler,
        Resource.create({SERVICE_NAME: f"tenantrooms-{process}", SERVICE_VERSION: version}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint)))
    try:
        yield provider.get_tracer(f"tenantrooms.{process}", version)
    finally:
        # In a thread: who takes the spans may be slow.
        await asyncio.to_thread(provider.shutdown)
