"""Owns what is told of each call once it has ended: one record in the log, the metrics, and its span.

Step before: `service.error_boundary` tells when a call begins and how it ended. Step after:
`service.call_log`, `service.call_metrics`, and `service.tracing` where it is switched on.
"""

from contextlib import suppress
from contextvars import ContextVar
from time import perf_counter
from typing import Final, Protocol

from prometheus_client import CollectorRegistry

from service import errors
from service.auth.principal import Operator, Tenant
from service.authentication import PRINCIPAL
from service.call_log import ANSWERED, CallLog
from service.call_metrics import CallMetrics, rpc_name
from service.metadata import Metadata
from service.request_id import REQUEST_ID

_PROBLEMS: Final = {
    errors.LiveKitRefused: "key_refused",
    errors.LiveKitClockOff: "clock_off",
    errors.LiveKitAnswerTooLarge: "answer_too_large",
    errors.LiveKitRecordCorrupt: "corrupt_record",
    errors.JwtSigningFailed: "signing_failed",
    errors.LiveKitNotConfigured: "not_configured",
}


class Span(Protocol):
    """What tracing keeps of a call."""

    def end(self, code: str, reason: str, upstream_calls: int) -> None:
        """The call has ended."""
        ...


class Tracing(Protocol):
    """What begins spans: `service.tracing`."""

    def begin(self, method: str, request_id: str, metadata: Metadata) -> Span:
        """The span of a call, which what is done for it is a part of."""
        ...


class Call:
    """One call while it is served.

    Attributes:
        rpc: its name, without its service.
        upstream_calls: how often it has waited for LiveKit or the auth service.
        upstream_seconds: for how long.
        upstream_failed: at which questions these failed.
    """

    __slots__ = ("began", "rpc", "span", "upstream_calls", "upstream_failed", "upstream_seconds")

    def __init__(self, rpc: str) -> None:
        self.rpc = rpc
        self.span: Span | None = None
        self.began = perf_counter()
        self.upstream_calls = 0
        self.upstream_seconds = 0.0
        self.upstream_failed: list[str] = []


CALL: Final[ContextVar[Call]] = ContextVar("call")
"""The call that is being served; none in what is done for several at once."""


class CallWatch:
    """Told of each call by the error boundary.

    Args:
        log: has a record of each.
        metrics: count them.
        tracing: makes spans of them; None makes none.
    """

    def __init__(
        self,
        log: CallLog | None = None,
        metrics: CallMetrics | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._log = log or CallLog()
        self._metrics = metrics or CallMetrics(CollectorRegistry())
        self._tracing = tracing
        self.in_flight = self._metrics.in_flight

    def begins(self, method: str, metadata: Metadata) -> None:
        """A call has come, whose request id is known."""
        call = Call(rpc_name(method))
        CALL.set(call)
        if self._tracing is not None:
            with suppress(Exception):  # what cannot be traced is served all the same
                call.span = self._tracing.begin(method, REQUEST_ID.get(), metadata)

    def ended(
        self,
        method: str,
        code: str,
        reason: str = "",
        error: BaseException | None = None,
    ) -> None:
        """The call of this context has ended.

        Args:
            method: its full method.
            code: the name of its gRPC status.
            reason: the name of its `ErrorReason`; empty where there is none.
            error: why it failed.
        """
        try:
            self._ended(CALL.get(), method, code, reason, error)
        except Exception:  # noqa: BLE001 (what cannot be recorded changes nothing for the caller)
            return

    def _ended(self, call: Call, method: str, code: str, reason: str, error: BaseException | None) -> None:
        seconds = perf_counter() - call.began
        caller = PRINCIPAL.get(None)
        tenant = caller.tenant_id if isinstance(caller, Tenant) else None
        self._metrics.ended(call.rpc, code, reason, seconds, tenant)
        if error is not None and (problem := _PROBLEMS.get(type(error))):
            self._metrics.needs_an_operator(problem)
        if call.span is not None:
            call.span.end(code, reason, call.upstream_calls)
        record: dict[str, object] = {
            "event": ANSWERED,
            "rpc": method,
            "code": code,
            "request_id": REQUEST_ID.get(),
        }
        if reason:
            record["reason"] = reason
        if isinstance(error, errors.DomainError) and error.limit is not None:
            record["limit"] = error.limit
        if tenant is not None:
            record["tenant"] = tenant
        elif isinstance(caller, Operator):
            record["operator"] = caller.operator_id
        record["ms"] = round(seconds * 1000, 2)
        if call.upstream_calls:
            record["upstream_calls"] = call.upstream_calls
            record["upstream_ms"] = round(call.upstream_seconds * 1000, 2)
        if call.upstream_failed:
            record["upstream_failed"] = call.upstream_failed
        self._log.write(code, reason, record, error)
