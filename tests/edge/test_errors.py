"""Every failure of a call has its one answer: all routes, gRPC codes and reasons."""

import itertools
import json

import grpc
import pytest

from edge import errors
from edge.errors import Route, answer_to_failure, answers_of
from tenantrooms.v1.error_reason_pb2 import ErrorReason

LIST, DETAILS = Route.LIST, Route.DETAILS
UNAVAILABLE = (503, {"error": "Service unavailable"})
FAULT = {
    LIST: (500, {"error": "Failed to list rooms"}),
    DETAILS: (500, {"error": "Failed to get room details"}),
}


def said(answer: errors.Answer) -> tuple[int, object]:
    return answer.status, json.loads(answer.body)


# The contract of errors, written down a second time. FAULT is the route's own text.
ON_BOTH: dict[str, tuple[int, dict[str, str] | None]] = {
    "CREDENTIAL_MISSING": (401, {"error": "missing_auth_header", "message": "A credential is required"}),
    "CREDENTIAL_MALFORMED": (
        401,
        {"error": "invalid_auth_header", "message": "The credential is not one usable Bearer token"},
    ),
    "CREDENTIAL_REJECTED": (401, {"error": "unauthorized", "message": "The credential was not accepted"}),
    "REQUEST_MALFORMED": (500, None),
    "TENANT_ID_BLANK": (400, {"error": "Tenant id cannot be blank"}),
    "PAGE_SIZE_INVALID": (500, None),
    "PAGE_TOKEN_INVALID": (500, None),
    "CONSISTENCY_INVALID": (500, None),
    "OPERATOR_ONLY": (403, {"error": "Only an operator may act for another tenant"}),
    "LIVEKIT_NOT_CONFIGURED": (500, {"error": "LiveKit service not configured"}),
    "RATE_LIMITED": (429, {"error": "Too many requests"}),
    "OVERLOADED": (429, {"error": "Service overloaded"}),
    "LIVEKIT_UNAVAILABLE": (500, None),
    "AUTH_SERVICE_UNAVAILABLE": (
        503,
        {"error": "auth_service_unavailable", "message": "The authentication service could not be reached"},
    ),
    "LIVEKIT_FAILED": (500, None),
    "AUTH_SERVICE_FAILED": (
        502,
        {"error": "auth_service_error", "message": "The authentication service failed"},
    ),
    "AUTH_CONFIG": (500, {"error": "config_error", "message": "Authentication is not set up correctly"}),
    "JWT_SIGNING_FAILED": (
        500,
        {"error": "jwt_signing_error", "message": "The authentication request could not be signed"},
    ),
    "UNEXPECTED": (500, None),
}
ON_DETAILS = {
    "ROOM_NAME_BLANK": (400, {"error": "Room name cannot be empty"}),
    "ROOM_NAME_TOO_LONG": (400, {"error": "Room name cannot be longer than 256 bytes"}),
    "ROOM_NOT_FOUND": (404, {"error": "Room not found or not accessible"}),
}
BARE_UNAVAILABLE = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"}


def expected(route: Route, reason: str) -> tuple[int, object]:
    if reason in ON_DETAILS:
        return ON_DETAILS[reason] if route is DETAILS else FAULT[route]
    status, body = ON_BOTH[reason]
    return FAULT[route] if body is None else (status, body)


REASONS = [name for name in ErrorReason.keys() if name != "ERROR_REASON_UNSPECIFIED"]  # noqa: SIM118 - no mapping


def test_the_table_has_every_reason_of_the_contract_for_every_route() -> None:
    assert set(errors.TABLE) == set(itertools.product(Route, REASONS))
    assert {*ON_BOTH, *ON_DETAILS} == set(REASONS)


@pytest.mark.parametrize("route", Route)
@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_decides_whatever_the_code(route: Route, reason: str) -> None:
    answers = {answer_to_failure(route, code, reason) for code in grpc.StatusCode}
    assert [said(answer) for answer in answers] == [expected(route, reason)]


@pytest.mark.parametrize("route", Route)
@pytest.mark.parametrize(
    "reason", [None, "", "NEWER_THAN_THIS_EDGE", "ERROR_REASON_UNSPECIFIED", "room_not_found"]
)
def test_a_code_without_a_known_reason_never_speaks_about_the_caller(
    route: Route, reason: str | None
) -> None:
    answers = {code.name: said(answer_to_failure(route, code, reason)) for code in grpc.StatusCode}
    assert len(answers) == 17
    assert answers == {name: UNAVAILABLE if name in BARE_UNAVAILABLE else FAULT[route] for name in answers}


def test_a_401_challenges_and_a_429_says_when_to_return_and_nothing_else_does() -> None:
    for answer in [*errors.TABLE.values(), errors.CREDENTIAL_UNUSABLE]:
        headers = dict(answer.headers)
        if answer.status == 401:
            assert headers == {"WWW-Authenticate": "Bearer"}
        elif answer.status == 429:
            assert list(headers) == ["Retry-After"]
            assert int(headers["Retry-After"]) > 0
        else:
            assert headers == {}


def test_only_authentication_errors_have_a_message() -> None:
    with_message = {
        json.loads(answer.body)["error"] for answer in errors.TABLE.values() if b'"message"' in answer.body
    }
    assert with_message == {
        "missing_auth_header",
        "invalid_auth_header",
        "unauthorized",
        "auth_service_error",
        "auth_service_unavailable",
        "config_error",
        "jwt_signing_error",
    }


def test_the_masked_404_is_these_bytes() -> None:
    answer = answer_to_failure(DETAILS, grpc.StatusCode.NOT_FOUND, "ROOM_NOT_FOUND")
    assert answer == errors.Answer(404, b'{"error":"Room not found or not accessible"}')


@pytest.mark.parametrize("route", Route)
def test_the_documented_answers_are_all_that_a_failure_may_give(route: Route) -> None:
    documented = list(answers_of(route))
    bare = {answer_to_failure(route, code, None) for code in grpc.StatusCode}
    by_reason = {answer for (of, _), answer in errors.TABLE.items() if of is route}
    assert bare | by_reason <= set(documented)
    assert len({answer.body for answer in documented}) == len(documented)
