"""Owns what leaves the service when something went wrong: a code, a reason and a constant text.

The outermost interceptor, so the first step of every call; `service.overload` is the next. grpc.aio
would send the text of any stray exception to the caller, out of (de)serializers and interceptors too.
Therefore this boundary runs them itself, inside its own `try`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache, partial
from typing import Any, Final, NoReturn, cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from grpc_status import rpc_status

from common.request_ids import chosen_request_id
from service import errors
from service.call_watch import CallWatch
from service.metadata import values_of
from service.request_id import REQUEST_ID, REQUEST_ID_KEY
from service.rpc_types import Behaviour, Context, Continuation, Handler, StreamBehaviour
from service.wrapped_handlers import WrappedHandlers
from tenantrooms.v1.error_reason_pb2 import ErrorReason

ERROR_DOMAIN: Final = "tenantrooms"

CODES: Final[Mapping[type[errors.DomainError], StatusCode]] = {
    errors.CredentialMissing: StatusCode.UNAUTHENTICATED,
    errors.CredentialMalformed: StatusCode.UNAUTHENTICATED,
    errors.CredentialRejected: StatusCode.UNAUTHENTICATED,
    errors.RequestMalformed: StatusCode.INVALID_ARGUMENT,
    errors.TenantIdBlank: StatusCode.INVALID_ARGUMENT,
    errors.RoomNameBlank: StatusCode.INVALID_ARGUMENT,
    errors.RoomNameTooLong: StatusCode.INVALID_ARGUMENT,
    errors.PageSizeInvalid: StatusCode.INVALID_ARGUMENT,
    errors.PageTokenInvalid: StatusCode.INVALID_ARGUMENT,
    errors.ConsistencyInvalid: StatusCode.INVALID_ARGUMENT,
    errors.OperatorOnly: StatusCode.PERMISSION_DENIED,
    errors.RoomNotFound: StatusCode.NOT_FOUND,
    errors.RateLimited: StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    errors.LiveKitNotConfigured: StatusCode.FAILED_PRECONDITION,
    errors.LiveKitUnavailable: StatusCode.UNAVAILABLE,
    errors.LiveKitTimedOut: StatusCode.DEADLINE_EXCEEDED,
    errors.LiveKitFailed: StatusCode.INTERNAL,
    errors.LiveKitRefused: StatusCode.INTERNAL,
    errors.LiveKitClockOff: StatusCode.INTERNAL,
    errors.LiveKitAnswerTooLarge: StatusCode.INTERNAL,
    errors.LiveKitRecordCorrupt: StatusCode.INTERNAL,
    errors.AuthServiceUnavailable: StatusCode.UNAVAILABLE,
    errors.AuthServiceTimedOut: StatusCode.DEADLINE_EXCEEDED,
    errors.AuthServiceFailed: StatusCode.INTERNAL,
    errors.JwtSigningFailed: StatusCode.INTERNAL,
    errors.Unexpected: StatusCode.INTERNAL,
}

OUTCOMES: Final = frozenset((code.name, ErrorReason.Name(error.reason)) for error, code in CODES.items())
"""Every code and reason that a call can fail with by this table."""

# The answer is final, whatever its code: a client that retries on UNAVAILABLE by itself shall not.
_NO_RETRY: Final = ("grpc-retry-pushback-ms", "-1")


class ErrorBoundary(grpc.aio.ServerInterceptor):
    """Turns whatever an rpc raises into a status of the contract, and gives each call its request id.

    Args:
        watch: is told of each call.
    """

    def __init__(self, watch: CallWatch | None = None) -> None:
        self._watch = watch or CallWatch()
        self._guarded = WrappedHandlers(partial(_guarded, self._watch))

    async def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Gives the guarded rpc, or one that refuses when an inner interceptor already did."""
        method = handler_call_details.method
        metadata = handler_call_details.invocation_metadata
        REQUEST_ID.set(chosen_request_id(values_of(metadata, REQUEST_ID_KEY)))
        self._watch.begins(method, metadata)
        try:
            handler = await continuation(handler_call_details)
        except asyncio.CancelledError as error:
            if _caller_has_left():
                self._watch.ended(method, StatusCode.CANCELLED.name)
                raise
            return _refusing(method, error, self._watch)
        except Exception as error:  # noqa: BLE001 because nothing may pass the boundary unseen
            return _refusing(method, error, self._watch)
        return None if handler is None else self._guarded.of(method, handler)


def _guarded(calls: CallWatch, method: str, handler: "Handler") -> "Handler":
    """The rpc with its own (de)serializers run inside the guard; gRPC is left with bytes."""
    decode = handler.request_deserializer or _as_it_is
    encode = handler.response_serializer or _as_it_is
    if handler.unary_unary is not None:
        unary = cast(Behaviour, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(
            cast(Any, _guarded_unary(method, unary, decode, encode, calls))
        )
    # The stubs of grpc.aio know handlers of synchronous servers only.
    if handler.unary_stream is not None:
        watch = cast(StreamBehaviour, handler.unary_stream)

        def watch_one(raw_request: bytes, context: Context) -> AsyncGenerator[Any, None]:
            return watch(_decoded(decode, raw_request), context)

        return grpc.unary_stream_rpc_method_handler(
            cast(Any, _guarded_stream(method, watch_one, encode, calls))
        )
    if handler.stream_stream is not None:
        exchange = cast(StreamBehaviour, handler.stream_stream)

        def exchange_many(raw_requests: AsyncIterator[bytes], context: Context) -> AsyncGenerator[Any, None]:
            return exchange(_decoded_each(decode, raw_requests), context)

        return grpc.stream_stream_rpc_method_handler(
            cast(Any, _guarded_stream(method, exchange_many, encode, calls))
        )
    raise TypeError(f"{method} streams requests to one answer, which nothing here guards")


def _guarded_unary(
    method: str,
    behaviour: Behaviour,
    decode: Callable[[bytes], Any],
    encode: Callable[[Any], bytes],
    calls: CallWatch,
) -> Behaviour:
    async def serve(raw_request: bytes, context: Context) -> bytes:
        calls.in_flight.value += 1
        try:
            answer = await behaviour(_decoded(decode, raw_request), context)
            raw_answer = answer if isinstance(answer, bytes) else encode(answer)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 as nothing may pass unseen
            await _fail(method, error, context, calls)
        finally:
            calls.in_flight.value -= 1
        calls.ended(method, "OK")
        context.set_trailing_metadata(((REQUEST_ID_KEY, REQUEST_ID.get()),))
        return raw_answer

    return serve


def _guarded_stream(
    method: str, behaviour: StreamBehaviour, encode: Callable[[Any], bytes], calls: CallWatch
) -> StreamBehaviour:
    async def serve(raw: Any, context: Context) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(behaviour(raw, context)) as answers:
                async for answer in answers:
                    yield encode(answer)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 as nothing may pass unseen
            await _fail(method, error, context, calls)
        context.set_trailing_metadata(((REQUEST_ID_KEY, REQUEST_ID.get()),))

    return serve


async def _fail(method: str, error: BaseException, context: Context, calls: CallWatch) -> NoReturn:
    """Ends a call for what was raised while it was served."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, asyncio.CancelledError) and _caller_has_left():
        left = cast("float | None", context.time_remaining())  # None without a deadline
        calls.ended(method, "CANCELLED" if left is None or left > 0 else "DEADLINE_EXCEEDED")
        raise error
    await _abort(method, error, context, calls)


def _as_it_is(message: bytes) -> bytes:
    return message


async def _decoded_each(
    decode: Callable[[bytes], Any], raw_requests: AsyncIterator[bytes]
) -> AsyncIterator[Any]:
    async for raw_request in raw_requests:
        yield _decoded(decode, raw_request)


def _caller_has_left() -> bool:
    # grpc.aio cancels the task of a call whose caller is gone. A CancelledError from anywhere else is a
    # fault like others; let through, it would leave the caller without an answer.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _refusing(method: str, error: BaseException, calls: CallWatch) -> "Handler":
    # A stream handler answers before it has read anything, whatever the rpc's own shape.
    async def refuse(_requests: AsyncIterator[bytes], context: Context) -> None:
        await _abort(method, error, context, calls)

    return grpc.stream_stream_rpc_method_handler(cast(Any, refuse))


def _decoded(decode: Callable[[bytes], Any], raw_request: bytes) -> Any:
    try:
        return decode(raw_request)
    except DecodeError as error:
        raise errors.RequestMalformed from error


async def _abort(method: str, error: BaseException, context: Context, calls: CallWatch) -> NoReturn:
    known: errors.DomainError = errors.Unexpected()
    if isinstance(error, errors.DomainError) and type(error) in CODES:
        known = error
    code = CODES[type(known)]
    calls.ended(method, code.name, ErrorReason.Name(known.reason), error)
    status = rpc_status.to_status(status_of(known))
    trailers = (*status.trailing_metadata, (REQUEST_ID_KEY, REQUEST_ID.get()), _NO_RETRY)
    await context.abort(status.code, status.details, trailers)


def status_of(error: errors.DomainError) -> Status:
    """The whole status that a caller gets for this error; the same for the same class, wait and reach."""
    return _status(
        CODES[type(error)], error.reason, error.text, error.retry_seconds, error.holds_for_credential
    )


@lru_cache(maxsize=256)  # a flood is refused for little
def _status(
    code: StatusCode,
    reason: ErrorReason.ValueType,
    text: str,
    retry_seconds: int | None,
    holds_for_credential: bool,
) -> Status:
    info = ErrorInfo(reason=ErrorReason.Name(reason), domain=ERROR_DOMAIN)
    if holds_for_credential:
        info.metadata["holds_for"] = "credential"
    details: list[Message] = [info]
    if retry_seconds is not None:
        details.append(RetryInfo(retry_delay=Duration(seconds=retry_seconds)))
    number: int = code.value[0]
    status = Status(code=number, message=text)
    for detail in details:
        status.details.add().Pack(detail)
    return status
