"""Owns every answer that is not a 200: one table from a failed call to (status, body), and the edge's own.

Texts are constants; nothing that the service, LiveKit or an exception says is passed on.
Before it: `rooms` with a failed call, or `asgi` with a request that it refuses. After it: the caller.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import grpc
import msgspec
from litestar.types import Receive, Scope, Send

Headers = tuple[tuple[str, str], ...]

_JSON: Final = (b"content-type", b"application/json")


class Route(Enum):
    """The routes that call the service."""

    LIST = "GET /livekit/rooms"
    DETAILS = "GET /livekit/rooms/{room_name}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a JSON body. It is an ASGI application that gives it, so a handler may return it.

    Attributes:
        status: the HTTP status.
        body: the JSON, encoded.
        headers: header fields that the status asks for.
        reason: why, for the log alone, where the edge gives it without having asked the service.
    """

    status: int
    body: bytes
    headers: Headers = ()
    reason: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        fields = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in self.headers]
        if self.status != HTTPStatus.NO_CONTENT:
            fields += [_JSON, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": fields})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def _error(status: int, text: str, headers: Headers = (), reason: str | None = None) -> Answer:
    return Answer(status, msgspec.json.encode({"error": text}), headers, reason)


def _auth_error(
    status: int, code: str, text: str, headers: Headers = (), reason: str | None = None
) -> Answer:
    return Answer(status, msgspec.json.encode({"error": code, "message": text}), headers, reason)


_CHALLENGE: Final = (("WWW-Authenticate", "Bearer"),)
_RETRY: Final = (("Retry-After", "1"),)
_CLOSE: Final = (("Connection", "close"),)

# What the edge answers by itself.
BAD_REQUEST: Final = _error(400, "Bad request", reason="REQUEST_MALFORMED")
PATH_NOT_UTF8: Final = _error(400, "Path is not valid UTF-8", reason="PATH_NOT_UTF8")
CREDENTIAL_UNUSABLE: Final = _auth_error(
    401,
    "invalid_auth_header",
    "The credential is not one usable Bearer token",
    _CHALLENGE,
    "CREDENTIAL_MALFORMED",
)
ROUTE_UNKNOWN: Final = _error(404, "Not Found", reason="ROUTE_UNKNOWN")
BODY_BROKEN: Final = _error(400, "Bad request", _CLOSE, "BODY_BROKEN")
BODY_TOO_SLOW: Final = _error(408, "Request Timeout", _CLOSE, "BODY_TOO_SLOW")
BODY_TOO_LARGE: Final = _error(413, "Request body too large", reason="BODY_TOO_LARGE")
PATH_TOO_LONG: Final = _error(414, "Path and query too long", reason="PATH_TOO_LONG")
HEADERS_TOO_LARGE: Final = _error(431, "Request headers too large", reason="HEADERS_TOO_LARGE")
UNEXPECTED: Final = _error(500, "Internal server error", reason="UNEXPECTED")
OVERLOADED: Final = _error(429, "Service overloaded", _RETRY, "OVERLOADED")
_TOO_MANY_REQUESTS: Final = _error(429, "Too many requests", _RETRY, "RATE_LIMITED")


@lru_cache(maxsize=256)  # a flood is refused for little
def too_many_requests(seconds: int) -> Answer:
    """The 429 of who asks too often, and may ask again after so many seconds."""
    return replace(_TOO_MANY_REQUESTS, headers=(("Retry-After", str(seconds)),))


def method_not_allowed(allow: str) -> Answer:
    """The 405 of a route that knows the methods `allow` only."""
    return _error(405, "Method Not Allowed", (("Allow", allow),), "METHOD_NOT_ALLOWED")


NOT_READY: Final = _error(503, "Not ready", reason="NOT_READY")
_SERVICE_UNAVAILABLE: Final = _error(503, "Service unavailable")

_FAULT: Final = {
    Route.LIST: _error(500, "Failed to list rooms"),
    Route.DETAILS: _error(500, "Failed to get room details"),
}

# What means the same on every route. A None is the route's own fault text: either LiveKit failed, or the
# edge has sent something that it should not have.
_BY_REASON: Final[Mapping[str, Answer | None]] = {
    "CREDENTIAL_MISSING": _auth_error(401, "missing_auth_header", "A credential is required", _CHALLENGE),
    "CREDENTIAL_MALFORMED": CREDENTIAL_UNUSABLE,
    "CREDENTIAL_REJECTED": _auth_error(401, "unauthorized", "The credential was not accepted", _CHALLENGE),
    "REQUEST_MALFORMED": None,
    "TENANT_ID_BLANK": _error(400, "Tenant id cannot be blank"),
    "PAGE_SIZE_INVALID": None,
    "PAGE_TOKEN_INVALID": None,
    "CONSISTENCY_INVALID": None,
    "OPERATOR_ONLY": _error(403, "Only an operator may act for another tenant"),
    "LIVEKIT_NOT_CONFIGURED": _error(500, "LiveKit service not configured"),
    "RATE_LIMITED": _TOO_MANY_REQUESTS,
    "OVERLOADED": OVERLOADED,
    "LIVEKIT_UNAVAILABLE": None,
    "AUTH_SERVICE_UNAVAILABLE": _auth_error(
        503, "auth_service_unavailable", "The authentication service could not be reached"
    ),
    "LIVEKIT_FAILED": None,
    "AUTH_SERVICE_FAILED": _auth_error(502, "auth_service_error", "The authentication service failed"),
    "AUTH_CONFIG": _auth_error(500, "config_error", "Authentication is not set up correctly"),
    "JWT_SIGNING_FAILED": _auth_error(
        500, "jwt_signing_error", "The authentication request could not be signed"
    ),
    "UNEXPECTED": None,
}

# What only the details of a room can give; from the list they would be a fault.
_BY_DETAILS_REASON: Final[Mapping[str, Answer]] = {
    "ROOM_NAME_BLANK": _error(400, "Room name cannot be empty"),
    "ROOM_NAME_TOO_LONG": _error(400, "Room name cannot be longer than 256 bytes"),
    "ROOM_NOT_FOUND": _error(404, "Room not found or not accessible"),
}

TABLE: Final[Mapping[tuple[Route, str], Answer]] = {
    **{(route, reason): answer or _FAULT[route] for route in Route for reason, answer in _BY_REASON.items()},
    **{(Route.DETAILS, reason): answer for reason, answer in _BY_DETAILS_REASON.items()},
    **{(Route.LIST, reason): _FAULT[Route.LIST] for reason in _BY_DETAILS_REASON},
}
"""The answer to each of the contract's reasons, by route."""

# Codes that come from gRPC itself or a proxy on the way, or with a reason newer than this table. They say
# at most that the service cannot serve now, and never anything about the caller or its rate.
_UNAVAILABLE_CODES: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


def answer_to_failure(
    route: Route, code: grpc.StatusCode, reason: str | None, retry_seconds: int | None = None
) -> Answer:
    """The answer to a failed call.

    Args:
        route: the route that made the call.
        code: its gRPC code.
        reason: the name of its `ErrorReason`, or None if the error is not TenantRooms' own.
        retry_seconds: after how long the caller may come again, where the service has said so.
    """
    if reason is not None and (answer := TABLE.get((route, reason))):
        if answer is _TOO_MANY_REQUESTS and retry_seconds is not None:
            return too_many_requests(retry_seconds)
        return answer
    return _SERVICE_UNAVAILABLE if code in _UNAVAILABLE_CODES else _FAULT[route]


def answers_of(route: Route | None) -> Iterator[Answer]:
    """Every answer but a 200 that `GET` on a route may give, each once; None is a route without a call."""
    own = [
        BAD_REQUEST,
        PATH_NOT_UTF8,
        BODY_TOO_SLOW,
        BODY_TOO_LARGE,
        PATH_TOO_LONG,
        HEADERS_TOO_LARGE,
        UNEXPECTED,
    ]
    if route is not None:
        own += [CREDENTIAL_UNUSABLE, _SERVICE_UNAVAILABLE, _FAULT[route]]
        own += [answer for (of, _), answer in TABLE.items() if of is route]
    seen: set[bytes] = set()
    for answer in own:
        if answer.body not in seen:
            seen.add(answer.body)
            yield answer
