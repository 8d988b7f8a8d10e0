"""Owns one relayed call: it passes the very interceptors and servicer that a unary call passes.

Step before: `service.relay.stream` has taken the call off a stream. Step after: the interceptors, of which
`service.error_boundary` is the outermost. What is left to do here is what gRPC itself does for a unary call:
finding its handler, and keeping what becomes of it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Never, cast

import grpc
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from service.answer_space import SPACE
from service.request_id import REQUEST_ID_KEY
from service.rpc_types import Context, Continuation, Handler
from tenantrooms.v1.tenant_rooms_pb2_grpc import TenantRoomsServicer, add_TenantRoomsServicer_to_server

Pairs = Sequence[tuple[str, str | bytes]]

_STATUS_KEY: Final = "grpc-status-details-bin"
_IN_NO_RELAYED_CALL: Final = "a relayed call is unary and has no initial metadata"


class Outcome(NamedTuple):
    """What became of a call.

    Attributes:
        answer: the encoded response; empty where the call failed.
        status: an encoded `google.rpc.Status` where it failed, else empty.
        request_id: the id that the answer carries; empty where the call was over before it had one.
    """

    answer: bytes
    status: bytes = b""
    request_id: str = ""


def failure(code: StatusCode, text: str) -> Outcome:
    """A failure without a reason, as gRPC itself gives it."""
    return Outcome(b"", _encoded_status(code, text))


class RelayedCalls:
    """Serves calls that came by relay.

    Args:
        interceptors: those of the server, in its order.
        handlers: its rpcs, by their full method, `/package.Service/Method`.
    """

    def __init__(
        self, interceptors: Sequence[grpc.aio.ServerInterceptor], handlers: Mapping[str, Handler]
    ) -> None:
        async def find(details: grpc.HandlerCallDetails) -> "Handler | None":
            return handlers.get(details.method)

        self._find: Continuation = find
        for interceptor in reversed(interceptors):
            intercept = cast("Callable[..., Any]", interceptor.intercept_service)
            self._find = partial(intercept, self._find)

    async def serve(
        self,
        method: str,
        metadata: Pairs,
        raw_request: bytes,
        deadline: float,
        stream: Context,
        *,
        space: Callable[[int], Awaitable[None]],
    ) -> Outcome:
        """What becomes of this call. It sets context variables, so it needs a task of its own.

        Args:
            method: the full method.
            metadata: the caller's, its credential included.
            raw_request: the encoded request.
            deadline: when its time is up, by the event loop's clock. Whoever calls this cancels it then.
            stream: the context of the stream that it came by.
            space: waits until an answer of so many bytes may be made.

        Raises:
            Exception: something that no interceptor has turned into a status.
        """
        context = _RelayedContext(metadata, deadline, stream)
        SPACE.set(space)
        answer: object = b""
        try:
            handler = await self._find(cast("grpc.HandlerCallDetails", _Details(method, metadata)))
            if handler is None:
                return failure(StatusCode.UNIMPLEMENTED, "Method not found!")
            # An interceptor refuses by a handler of any shape.
            serve = cast("Callable[..., Any]", handler.unary_unary or handler.stream_stream)
            answer = await serve(raw_request if handler.unary_unary else _nothing(), context)
        except grpc.aio.AbortError:
            if not context.aborted:
                raise
        if context.code() is StatusCode.OK and not isinstance(answer, bytes):
            raise TypeError(f"{method} gave no bytes, so no interceptor has encoded its answer")
        return context.outcome(cast("bytes", answer))


def handlers_of(servicer: TenantRoomsServicer) -> Mapping[str, Handler]:
    """The rpcs of this servicer by their full method, just as a server would have them."""
    collector = _Collector()
    add_TenantRoomsServicer_to_server(servicer, cast("grpc.aio.Server", collector))
    return collector.handlers


class _Collector:
    """Takes the place of the server when a servicer is added to it."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, generic_handlers: object) -> None:
        pass  # the same once more, in the form that older servers take

    def add_registered_method_handlers(self, service_name: str, handlers: Mapping[str, Handler]) -> None:
        self.handlers.update({f"/{service_name}/{name}": handler for name, handler in handlers.items()})


class _Details(NamedTuple):
    method: str
    invocation_metadata: Pairs


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


class _RelayedContext(grpc.aio.ServicerContext[bytes, bytes]):
    """What interceptors and servicers see of a relayed call in place of gRPC's own context."""

    def __init__(self, metadata: Pairs, deadline: float, stream: Context) -> None:
        self._metadata = metadata
        self._deadline = deadline
        self._stream = stream
        self._trailers: Pairs = ()
        self._code = StatusCode.OK
        self._text = ""
        self.aborted = False

    def outcome(self, answer: bytes) -> Outcome:
        trailers = dict(self._trailers)
        request_id = str(trailers.get(REQUEST_ID_KEY, ""))
        if self._code is StatusCode.OK:
            return Outcome(answer, b"", request_id)
        status = trailers.get(_STATUS_KEY)
        if not isinstance(status, bytes):
            status = _encoded_status(self._code, self._text)
        return Outcome(b"", status, request_id)

    async def abort(self, code: StatusCode, details: str = "", trailing_metadata: Any = ()) -> Never:
        if self.aborted:
            raise grpc.aio.UsageError("abort was called before")
        self.aborted = True
        self._code, self._text = code, details or self._text
        if code is StatusCode.OK:
            self._code, self._text = StatusCode.UNKNOWN, ""
        self._trailers = trailing_metadata or self._trailers
        raise grpc.aio.AbortError("aborted")

    async def abort_with_status(self, status: grpc.Status) -> Never:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self._trailers = trailing_metadata

    def set_code(self, code: StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._text = details

    def trailing_metadata(self) -> Any:
        return self._trailers

    def code(self) -> StatusCode:
        return self._code

    def details(self) -> str:
        return self._text

    def invocation_metadata(self) -> Any:
        return self._metadata

    def time_remaining(self) -> float:
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    def peer(self) -> str:
        return self._stream.peer()

    def peer_identities(self) -> Iterable[bytes] | None:
        return self._stream.peer_identities()

    def peer_identity_key(self) -> str | None:
        return self._stream.peer_identity_key()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._stream.auth_context()

    async def read(self) -> bytes:
        raise grpc.aio.UsageError(_IN_NO_RELAYED_CALL)

    async def write(self, message: bytes) -> None:
        raise grpc.aio.UsageError(_IN_NO_RELAYED_CALL)

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        raise grpc.aio.UsageError(_IN_NO_RELAYED_CALL)

    def set_compression(self, compression: grpc.Compression) -> None:
        raise grpc.aio.UsageError("the frames of a stream are compressed, or not, as a whole")

    def disable_next_message_compression(self) -> None:
        """The frames of a stream are not compressed."""


def _encoded_status(code: StatusCode, text: str) -> bytes:
    number: int = code.value[0]
    return Status(code=number, message=text).SerializeToString()
