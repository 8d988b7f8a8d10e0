"""Owns the record of each read by an operator: who read what, for whom, and what came of it.

An interceptor. Step before: `service.tenant_limits`; the caller is known. Step after: `service.servicer`.
Every rpc with a credential passes here, so none can be forgotten. Tenants leave no record.

It fails closed: the answer leaves only once its record is written. A read that cannot be recorded is refused.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

import grpc

from service.auth.principal import Operator
from service.authentication import POLICIES, PRINCIPAL, Access
from service.errors import DomainError, RoomNotFound, Unexpected
from service.request_id import REQUEST_ID
from service.rpc_types import Behaviour, Context, Continuation, Handler
from service.wrapped_handlers import WrappedHandlers
from tenantrooms.v1.error_reason_pb2 import ErrorReason

ANSWERED: Final = {"outcome": "answered"}
CANCELLED: Final = {"outcome": "cancelled"}


class AuditLog(Protocol):
    """Where records go: `service.audit_log`."""

    async def write(self, record: Mapping[str, str]) -> None:
        """Writes this record, even if its caller leaves meanwhile; raises when that is not certain."""
        ...

    def write_unawaited(self, record: Mapping[str, str]) -> None:
        """Writes this record, which nobody waits for."""
        ...


class AuditInterceptor(grpc.aio.ServerInterceptor):
    """Records reads by operators.

    Args:
        log: where records go.
        now: the time.
    """

    def __init__(self, log: AuditLog, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._log = log
        self._now = now
        self._recording = WrappedHandlers(self._recorded_by)

    async def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Gives the rpc, which then records its calls by operators."""
        handler = await continuation(handler_call_details)
        if handler is None or POLICIES[handler_call_details.method] is Access.PUBLIC:
            return handler
        return self._recording.of(handler_call_details.method, handler)

    def _recorded_by(self, method: str, handler: "Handler") -> "Handler":
        """The rpc, which records its calls by operators."""
        rpc = method.rpartition("/")[2]
        serve = cast(Behaviour, handler.unary_unary)

        async def recorded(request: Any, context: Context) -> Any:
            caller = PRINCIPAL.get()
            if not isinstance(caller, Operator):
                return await serve(request, context)
            return await self._recorded(serve, request, context, self._read(caller, rpc, request))

        return grpc.unary_unary_rpc_method_handler(
            cast(Any, recorded), handler.request_deserializer, handler.response_serializer
        )

    async def _recorded(
        self, serve: Behaviour, request: Any, context: Context, read: Mapping[str, str]
    ) -> Any:
        try:
            answer = await serve(request, context)
        except asyncio.CancelledError:
            self._log.write_unawaited({**read, **CANCELLED})
            raise
        except Exception as error:
            await self._log.write({**read, **_failure(error)})
            raise
        await self._log.write({**read, **ANSWERED})
        return answer

    def _read(self, caller: Operator, rpc: str, request: Any) -> dict[str, str]:
        read = {
            "log": "audit",
            "event": "read by an operator",
            "level": "info",
            "timestamp": self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "request_id": REQUEST_ID.get(),
            "operator": caller.operator_id,
            "rpc": rpc,
            "scope": "all",
        }
        if request.HasField("tenant_id"):
            read |= {"scope": "tenant", "tenant_id": request.tenant_id}
        if "room_name" in request.DESCRIPTOR.fields_by_name:
            read["room_name"] = request.room_name
        return read


def _failure(error: Exception) -> dict[str, str]:
    known = error if isinstance(error, DomainError) else Unexpected()
    outcome = "not_found" if isinstance(known, RoomNotFound) else "failed"
    return {"outcome": outcome, "reason": ErrorReason.Name(known.reason)}
