"""What leaves the service when something went wrong, over real gRPC: a code, a reason, a constant text."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from service import errors
from service.error_boundary import CODES, ErrorBoundary
from service.rpc_types import Continuation, Handler
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1.error_reason_pb2 import ErrorReason
from tests.service.grpc_calls import GET_ROOM, LIST_ROOMS, Context, Outcome, Scripted, call, serving

CANARY = "canary-5ecret"


def all_errors(base: type[errors.DomainError] = errors.DomainError) -> Iterator[type[errors.DomainError]]:
    for error in base.__subclasses__():
        if error.__module__.startswith("service."):
            yield error
            yield from all_errors(error)


# CONTRACT: which reasons a code has.
CONTRACT: dict[StatusCode, set[str]] = {
    StatusCode.UNAUTHENTICATED: {"CREDENTIAL_MISSING", "CREDENTIAL_MALFORMED", "CREDENTIAL_REJECTED"},
    StatusCode.INVALID_ARGUMENT: {
        "REQUEST_MALFORMED",
        "TENANT_ID_BLANK",
        "ROOM_NAME_BLANK",
        "ROOM_NAME_TOO_LONG",
        "PAGE_SIZE_INVALID",
        "PAGE_TOKEN_INVALID",
        "CONSISTENCY_INVALID",
    },
    StatusCode.PERMISSION_DENIED: {"OPERATOR_ONLY"},
    StatusCode.NOT_FOUND: {"ROOM_NOT_FOUND"},
    StatusCode.RESOURCE_EXHAUSTED: {"RATE_LIMITED", "OVERLOADED"},
    StatusCode.FAILED_PRECONDITION: {"LIVEKIT_NOT_CONFIGURED"},
    StatusCode.UNAVAILABLE: {"LIVEKIT_UNAVAILABLE", "AUTH_SERVICE_UNAVAILABLE"},
    StatusCode.DEADLINE_EXCEEDED: {"LIVEKIT_UNAVAILABLE", "AUTH_SERVICE_UNAVAILABLE"},
    StatusCode.INTERNAL: {
        "LIVEKIT_FAILED",
        "AUTH_SERVICE_FAILED",
        "JWT_SIGNING_FAILED",
        "UNEXPECTED",
    },
}


async def raising(error: BaseException) -> Any:
    raise error


class Served:
    """A server behind the boundary, what it does, and its channel."""

    def __init__(self, channel: grpc.aio.Channel, servicer: Scripted) -> None:
        self.channel, self.servicer = channel, servicer

    async def outcome_of(self, error: BaseException) -> Outcome:
        self.servicer.behaviour = lambda _request, _context: raising(error)
        return await call(self.channel, LIST_ROOMS)


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Served]:
    servicer = Scripted(lambda _request, _context: raising(AssertionError()))
    async with serving(servicer, ErrorBoundary()) as channel:
        yield Served(channel, servicer)


def test_every_domain_error_has_its_code_and_no_code_is_left_over() -> None:
    assert set(all_errors()) == set(CODES)


@pytest.mark.parametrize("error", CODES)
async def test_a_domain_error_arrives_with_code_reason_and_constant_text(
    served: Served, error: type[errors.DomainError]
) -> None:
    outcome = await served.outcome_of(error(CANARY))
    assert outcome.code is CODES[error]
    assert outcome.details == error.text
    assert outcome.error_info.domain == "tenantrooms"
    assert outcome.reason in CONTRACT[outcome.code]
    assert not outcome.error_info.metadata
    assert outcome.retry_seconds == (1 if outcome.code is StatusCode.RESOURCE_EXHAUSTED else None)
    assert sorted(key for key, _ in outcome.trailers) == [
        "grpc-retry-pushback-ms",
        "grpc-status-details-bin",
        "x-request-id",
    ]
    assert CANARY.encode() not in outcome.everything


async def test_together_they_cover_the_contract(served: Served) -> None:
    found: dict[StatusCode, set[str]] = {}
    for error in CODES:
        outcome = await served.outcome_of(error())
        found.setdefault(outcome.code, set()).add(outcome.reason)
    assert found == CONTRACT


# --- what nobody foresaw ----------------------------------------------------------------------------------


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError(CANARY)


class Newer(errors.RoomNotFound):
    """A domain error that the table of codes does not know."""


def assert_nothing_said(outcome: Outcome) -> None:
    assert (outcome.code, outcome.details) == (StatusCode.INTERNAL, "Unexpected error")
    assert outcome.reason == "UNEXPECTED"
    assert CANARY.encode() not in outcome.everything
    assert outcome.request_id


STRAY = [
    RuntimeError(CANARY),
    KeyError(CANARY),
    grpc.aio.UsageError(CANARY),
    ExceptionGroup(CANARY, [ValueError(CANARY)]),
    NotImplementedError(CANARY),
    Unspeakable(),
    errors.DomainError(CANARY),
    Newer(CANARY),
    asyncio.CancelledError(CANARY),
]


@pytest.mark.parametrize("error", STRAY, ids=lambda error: type(error).__name__)
async def test_a_stray_exception_of_a_servicer_says_nothing(served: Served, error: BaseException) -> None:
    assert_nothing_said(await served.outcome_of(error))


async def test_the_log_has_what_the_caller_has_not(served: Served) -> None:
    with capture_logs() as logs:
        outcome = await served.outcome_of(RuntimeError(CANARY))
    (record,) = logs
    assert (record["log_level"], record["reason"], record["rpc"]) == ("error", "UNEXPECTED", LIST_ROOMS)
    assert (record["error"], record["request_id"]) == ("RuntimeError", outcome.request_id)
    assert record["at"][-1].startswith(f"{__file__}:")
    assert CANARY not in repr(record)


@pytest.mark.parametrize("error", CODES)
async def test_the_log_tells_faults_from_refusals_and_why_but_for_masked_answers(
    served: Served, error: type[errors.DomainError]
) -> None:
    with capture_logs() as logs:
        await served.outcome_of(error("why"))
    codes = StatusCode
    faults = (codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED, codes.INTERNAL, codes.FAILED_PRECONDITION)
    (record,) = logs
    told = (record["event"], record["log_level"], record.get("detail"))
    level = "warning" if CODES[error] is codes.RESOURCE_EXHAUSTED else "info"
    refused = ("rpc refused", level, None if error is errors.RoomNotFound else "why")
    assert told == (("rpc failed", "error", "why") if CODES[error] in faults else refused)
    assert record["reason"] == ErrorReason.Name(error.reason)


async def test_bytes_that_are_no_request_are_the_callers_mistake(served: Served) -> None:
    before = served.servicer.calls
    outcome = await call(served.channel, LIST_ROOMS, b"\xff\xff" + CANARY.encode())
    assert (outcome.code, outcome.reason) == (StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")
    assert CANARY.encode() not in outcome.everything
    assert served.servicer.calls == before


@pytest.mark.parametrize("answer", [None, CANARY, {CANARY: 1}, pb.ListRoomsResponse, object()])
async def test_an_answer_that_cannot_be_encoded_says_nothing(served: Served, answer: object) -> None:
    async def behaviour(_request: object, _context: Context) -> object:
        return answer

    served.servicer.behaviour = behaviour
    assert_nothing_said(await call(served.channel, LIST_ROOMS))


async def test_an_answer_that_is_encoded_already_goes_out_as_it_is(served: Served) -> None:
    async def behaviour(_request: object, _context: Context) -> bytes:
        return b"\x0a\x00"

    served.servicer.behaviour = behaviour
    outcome = await call(served.channel, GET_ROOM)
    assert (outcome.code, outcome.body) == (StatusCode.OK, b"\x0a\x00")


async def test_a_refusal_that_a_servicer_makes_itself_passes_unchanged(served: Served) -> None:
    async def behaviour(_request: object, context: Context) -> None:
        await context.abort(StatusCode.ALREADY_EXISTS, "my own words", (("mine", "too"),))

    served.servicer.behaviour = behaviour
    with capture_logs() as logs:
        outcome = await call(served.channel, LIST_ROOMS)
    assert logs == []
    assert (outcome.code, outcome.details) == (StatusCode.ALREADY_EXISTS, "my own words")
    assert outcome.trailers == (("mine", "too"),)


async def test_what_does_not_exist_is_unimplemented(served: Served) -> None:
    for rpc in ("/tenantrooms.v1.TenantRooms/WatchRooms", "/no.Such/Service"):
        outcome = await call(served.channel, rpc)
        assert (outcome.code, outcome.trailers) == (StatusCode.UNIMPLEMENTED, ())


# --- inside the boundary ----------------------------------------------------------------------------------


class Inner(grpc.aio.ServerInterceptor):
    """An interceptor that fails: on the way in, or in the handler that it gives."""

    def __init__(self, error: BaseException, at_once: bool) -> None:
        self._error, self._at_once = error, at_once

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        if self._at_once:
            raise self._error
        handler: Any = await continuation(handler_call_details)

        async def fail(_request: object, _context: Context) -> None:
            raise self._error

        return grpc.unary_unary_rpc_method_handler(
            fail,
            handler.request_deserializer,
            handler.response_serializer,
        )


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("error", [RuntimeError(CANARY), asyncio.CancelledError(CANARY)])
async def test_a_stray_exception_of_an_inner_interceptor_says_nothing(
    error: BaseException, at_once: bool
) -> None:
    servicer = Scripted(lambda _request, _context: raising(AssertionError()))
    async with serving(servicer, ErrorBoundary(), Inner(error, at_once)) as channel:
        for request in (b"", b"\xff"):
            outcome = await call(channel, LIST_ROOMS, request)
            if at_once or not request:
                assert_nothing_said(outcome)
            else:
                assert outcome.reason == "REQUEST_MALFORMED"
    assert servicer.calls == 0


async def test_an_inner_interceptor_refuses_with_a_domain_error() -> None:
    inner = Inner(errors.CredentialMissing(), at_once=True)
    async with serving(None, ErrorBoundary(), inner) as channel:
        outcome = await call(channel, LIST_ROOMS, b"\xff")
    assert (outcome.code, outcome.reason) == (StatusCode.UNAUTHENTICATED, "CREDENTIAL_MISSING")


def broken(_message: Any) -> Any:
    raise RuntimeError(CANARY)


@pytest.mark.parametrize(("decode", "encode"), [(broken, None), (None, broken)])
async def test_a_stray_exception_of_a_codec_says_nothing(decode: Any, encode: Any) -> None:
    async def behaviour(_request: object, _context: Context) -> object:
        return object()

    handler = grpc.unary_unary_rpc_method_handler(behaviour, decode, encode)
    rpcs = grpc.method_handlers_generic_handler("tenantrooms.v1.TenantRooms", {"ListRooms": handler})
    async with serving(None, ErrorBoundary(), handlers=[rpcs]) as channel:
        assert_nothing_said(await call(channel, LIST_ROOMS))


# --- callers that leave -----------------------------------------------------------------------------------


async def test_a_caller_that_leaves_cancels_its_call_and_is_no_fault(served: Served) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def behaviour(_request: object, _context: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    served.servicer.behaviour = behaviour
    with capture_logs() as logs:
        calling = asyncio.create_task(call(served.channel, LIST_ROOMS))
        await started.wait()
        calling.cancel()
        async with asyncio.timeout(10):
            await cancelled.wait()
        await asyncio.gather(calling, return_exceptions=True)
    told = [(record["event"], record["code"], record["log_level"]) for record in logs]
    assert told == [("rpc ended", "CANCELLED", "info")]
