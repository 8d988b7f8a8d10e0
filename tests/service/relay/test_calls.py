"""A relayed call's way through the interceptors, and the context that takes the place of gRPC's."""

import asyncio
from typing import Any, cast

import grpc
import pytest
from grpc import StatusCode

from service.relay.calls import RelayedCalls, handlers_of
from service.rpc_types import Continuation, Handler
from tenantrooms.relay.v1 import relay_pb2
from tests.service.grpc_calls import LIST_ROOMS, Context, Outcome, Scripted
from tests.service.relay_calls import outcome_of


class StreamContext:
    """What a relayed call asks of the context of its stream."""

    def peer(self) -> str:
        return "ipv4:192.0.2.1:5"

    def peer_identities(self) -> list[bytes]:
        return [b"edge"]

    def peer_identity_key(self) -> str:
        return "x509_common_name"

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_common_name": [b"edge"]}


class Recording(grpc.aio.ServerInterceptor):
    """Writes down that it was passed, and by which call."""

    def __init__(self, name: str, passed: list[object]) -> None:
        self._name, self._passed = name, passed

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        details = handler_call_details
        self._passed.append((self._name, details.method, tuple(details.invocation_metadata)))
        return await continuation(details)


def handlers(serve: Any) -> dict[str, Handler]:
    """One rpc that takes and gives bytes, as the error boundary would have it."""
    return {LIST_ROOMS: grpc.unary_unary_rpc_method_handler(serve)}


async def plenty(_size: int) -> None:
    """There is space for any answer."""


async def served(calls: RelayedCalls, rpc: str = LIST_ROOMS, raw_request: bytes = b"request") -> Outcome:
    deadline = asyncio.get_running_loop().time() + 10
    context = cast(Context, StreamContext())
    outcome = await calls.serve(rpc, (("a", "b"),), raw_request, deadline, context, space=plenty)
    return outcome_of(
        relay_pb2.Answer(response=outcome.answer, status=outcome.status, request_id=outcome.request_id)
    )


async def test_a_call_passes_the_interceptors_in_their_order() -> None:
    passed: list[object] = []

    async def serve(raw_request: bytes, context: Context) -> bytes:
        passed.append((raw_request, context.invocation_metadata()))
        return b"answer"

    calls = RelayedCalls([Recording("first", passed), Recording("second", passed)], handlers(serve))
    assert (await served(calls)).body == b"answer"
    seen = (LIST_ROOMS, (("a", "b"),))
    assert passed == [("first", *seen), ("second", *seen), (b"request", (("a", "b"),))]


async def test_an_rpc_that_there_is_none_of_is_unimplemented() -> None:
    outcome = await served(RelayedCalls([], {}))
    assert (outcome.code, outcome.trailers[0][0]) == (StatusCode.UNIMPLEMENTED, "grpc-status-details-bin")


async def test_a_refusal_of_any_shape_is_the_answer() -> None:
    async def refuse(_requests: object, context: Context) -> None:
        await context.abort(StatusCode.ABORTED, "no", (("x-request-id", "mine"),))

    for shape in (grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler):
        rpcs: dict[str, Handler] = {LIST_ROOMS: shape(cast(Any, refuse))}
        outcome = await served(RelayedCalls([], rpcs))
        assert (outcome.code, outcome.details, outcome.request_id) == (StatusCode.ABORTED, "no", "mine")


async def test_a_code_without_an_abort_is_a_failure_too() -> None:
    async def serve(_request: bytes, context: Context) -> bytes:
        context.set_code(StatusCode.DATA_LOSS)
        context.set_details("why")
        return b"answer"

    outcome = await served(RelayedCalls([], handlers(serve)))
    assert (outcome.code, outcome.details, outcome.body) == (StatusCode.DATA_LOSS, "why", b"")


async def test_an_abort_that_says_ok_is_no_answer() -> None:
    async def serve(_request: bytes, context: Context) -> bytes:
        await context.abort(StatusCode.OK)

    assert (await served(RelayedCalls([], handlers(serve)))).code is StatusCode.UNKNOWN


@pytest.mark.parametrize("answer", [None, "text", object()])
async def test_an_answer_that_nobody_has_encoded_is_never_sent(answer: object) -> None:
    async def serve(_request: bytes, _context: Context) -> object:
        return answer

    with pytest.raises(TypeError):
        await served(RelayedCalls([], handlers(serve)))


async def test_an_abort_of_something_else_is_no_answer_of_this_call() -> None:
    async def serve(_request: bytes, _context: Context) -> bytes:
        raise grpc.aio.AbortError

    with pytest.raises(grpc.aio.AbortError):
        await served(RelayedCalls([], handlers(serve)))


async def test_the_context_knows_the_peer_of_its_stream_and_the_time_that_is_left() -> None:
    async def serve(_request: bytes, context: Context) -> bytes:
        assert context.peer() == "ipv4:192.0.2.1:5"
        assert context.peer_identities() == [b"edge"]
        assert context.peer_identity_key() == "x509_common_name"
        assert context.auth_context() == {"x509_common_name": [b"edge"]}
        assert 0 < context.time_remaining() <= 10
        assert context.code() is StatusCode.OK
        with pytest.raises(grpc.aio.UsageError):
            await context.write(b"")
        with pytest.raises(grpc.aio.UsageError):
            await context.read()
        return b"answer"

    assert (await served(RelayedCalls([], handlers(serve)))).body == b"answer"


async def test_a_servicers_rpcs_are_those_that_a_server_would_have() -> None:
    async def behaviour(_request: object, _context: Context) -> None: ...

    assert set(handlers_of(Scripted(behaviour))) == {
        "/tenantrooms.v1.TenantRooms/ListRooms",
        "/tenantrooms.v1.TenantRooms/GetRoom",
    }
