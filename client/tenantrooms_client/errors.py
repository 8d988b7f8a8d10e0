"""Owns what a failed call raises: one exception class per gRPC code that a caller would handle apart."""

from typing import Final, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

ERROR_DOMAIN: Final = "tenantrooms"


class TenantRoomsError(Exception):
    """A call to TenantRooms that failed.

    Attributes:
        code: the gRPC status code.
        reason: the name of the contract's `ErrorReason`, or None where the error does not come from
            TenantRooms itself (an unreachable server, a proxy, gRPC's own limits).
        message: the status message; a constant when there is a reason.
        request_id: the id of the call, where the service answered at all; its log has failures under it.
        retry_seconds: after how long to come again, where the service has said so: it is busy, or the caller
            calls too often.
        holds_for_credential: whether any call with the same credential would fail likewise until then.
    """

    code: grpc.StatusCode
    reason: str | None
    message: str
    request_id: str | None
    retry_seconds: int | None
    holds_for_credential: bool = False

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str | None,
        message: str,
        request_id: str | None = None,
        retry_seconds: int | None = None,
    ) -> None:
        super().__init__(code, reason, message, request_id)
        self.code = code
        self.reason = reason
        self.message = message
        self.request_id = request_id
        self.retry_seconds = retry_seconds

    def __str__(self) -> str:
        what = f"{self.code.name} ({self.reason})" if self.reason else self.code.name
        where = f" [request {self.request_id}]" if self.request_id else ""
        return f"{what}: {self.message}{where}"


class InvalidArgument(TenantRoomsError):
    """The request breaks a rule of the contract; `reason` names it."""


class Unauthenticated(TenantRoomsError):
    """The credential is missing, unusable or not accepted."""


class PermissionDenied(TenantRoomsError):
    """A tenant asked for what only an operator may have."""


class NotFound(TenantRoomsError):
    """No such room for this caller. Whether it exists for another is not said."""


class FailedPrecondition(TenantRoomsError):
    """The service has no LiveKit credentials."""


class ResourceExhausted(TenantRoomsError):
    """Over the caller's rate, or more than the service can take now. Try again later."""


class Unavailable(TenantRoomsError):
    """The service, or LiveKit behind it, could not be reached. Try again."""


class DeadlineExceeded(TenantRoomsError):
    """No answer within the deadline."""


class Internal(TenantRoomsError):
    """The service or LiveKit failed; the service's log has the details under `request_id`."""


_CLASSES: Final[dict[grpc.StatusCode, type[TenantRoomsError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.INTERNAL: Internal,
}


_CODES: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}


def error_from(failure: grpc.aio.AioRpcError) -> TenantRoomsError:
    """The exception that this failed call raises, with the reason and request id from its trailers."""
    try:
        # It asks for what a finished call and its error both have: code, details and trailers.
        status = rpc_status.from_call(cast(grpc.Call, failure))
    except (ValueError, DecodeError):  # details that contradict the status are nobody's answer
        status = None
    return _error(failure.code(), status, failure.details() or "", _request_id_of(failure))


def error_of(status: Status, request_id: str | None) -> TenantRoomsError:
    """The exception that a call raises which came back with this status instead of an answer."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _error(
        grpc.StatusCode.UNKNOWN if code is grpc.StatusCode.OK else code, status, status.message, request_id
    )


def _error(
    code: grpc.StatusCode, status: Status | None, message: str, request_id: str | None
) -> TenantRoomsError:
    reason, retry_seconds, holds_for_credential = _said_in(status)
    error = _CLASSES.get(code, TenantRoomsError)(code, reason, message, request_id, retry_seconds)
    error.holds_for_credential = holds_for_credential
    return error


def _said_in(status: Status | None) -> tuple[str | None, int | None, bool]:
    """The reason, the seconds until the next try, and whether that holds for all calls of the credential.

    The last two count only beside a reason of ours.
    """
    reason, seconds, holds_for_credential = None, None, False
    info, retry = ErrorInfo(), RetryInfo()
    try:
        for detail in status.details if status else ():
            if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                reason = info.reason
                holds_for_credential = info.metadata.get("holds_for") == "credential"
            elif detail.Unpack(retry):
                seconds = max(1, retry.retry_delay.seconds)
    except DecodeError:
        return None, None, False
    return reason, None if reason is None else seconds, holds_for_credential


def _request_id_of(failure: grpc.aio.AioRpcError) -> str | None:
    for key, value in failure.trailing_metadata():
        if key == "x-request-id":
            return str(value)
    return None
