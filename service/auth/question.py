"""Owns the question that an auth service is asked: who is it that makes this REST request?

Step before: `service.authentication` has a token and the call. Step after: `service.auth.auth_service`.

The method and path are those of the REST route that the rpc stands for; they are made here, from the rpc
and its request, and never taken from the caller. The headers are the caller's own, less those that must
not leave.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import msgspec

from common.edge_metadata import CLIENT_ADDRESS_KEY, FORWARDED_HEADERS_KEY
from service.errors import CredentialRejected, RequestMalformed
from service.metadata import Metadata

MOST_NAME_BYTES: Final = 256
"""So much of a room's name is in a question. No room has a longer one, but whoever asks for one is
authenticated first, and must not blow up what an auth service is sent before it is."""
MOST_HEADER_CHARACTERS: Final = 32 * 1024
"""Names and values together: what the edge lets through by default."""

_KEPT_BACK: Final = frozenset(
    {
        "authorization",
        "cookie",
        "x-api-key",
        "proxy-authorization",
        "host",
        "x-real-ip",
        CLIENT_ADDRESS_KEY,
    }
)
_KEPT_BACK_PREFIXES: Final = ("x-forwarded-", "x-sayna-")

_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, in lower case
_FORWARDED: Final = msgspec.json.Decoder(list[tuple[str, str]])

_REST_ROUTES: Final[Mapping[str, Callable[[Any], tuple[str, str]]]] = {
    "/tenantrooms.v1.TenantRooms/ListRooms": lambda _request: ("GET", "/livekit/rooms"),
    "/tenantrooms.v1.TenantRooms/GetRoom": lambda request: (
        "GET",
        f"/livekit/rooms/{quote(_asked_name(request.room_name), safe='')}",
    ),
}


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that a verdict may rest on; two questions are the same only when all of it is.

    Attributes:
        client: from where the call comes, for its turn. No verdict rests on it, so it is no part of that.
    """

    token: str = field(repr=False)
    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    client: str = field(default="", compare=False, repr=False)

    @property
    def rests_on(self) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:
        """All that makes it this question and no other."""
        return self.token, self.method, self.path, self.headers

    def auth_data(self) -> dict[str, Any]:
        """The `auth_data` claim, as existing auth services read it."""
        return {
            "token": self.token,
            "request_body": {},
            "request_headers": dict(self.headers),
            "request_path": self.path,
            "request_method": self.method,
        }


def question_of(rpc: str, request: Any, metadata: Metadata, token: str, client: str = "") -> Question:
    """The question about who makes this call.

    Args:
        rpc: the full method, `/package.Service/Method`.
        request: its decoded request.
        metadata: the call's metadata.
        token: the Bearer token in it.
        client: from where the call comes.

    Raises:
        RequestMalformed: the edge's headers are no JSON.
        CredentialRejected: there are more headers than a question may have.
        KeyError: the rpc has no REST route; `service.authentication` names those that do.
    """
    method, path = _REST_ROUTES[rpc](request)
    return Question(token, method, path, _headers_in(metadata), client)


def _headers_in(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """The caller's headers, sorted by their lower-case names; several of one name are joined with a comma."""
    headers: dict[str, str] = {}
    for spelled, value in _caller_headers(metadata):
        name = spelled.lower()
        # As an auth service may read it: many take an underscore for a hyphen.
        read_as = name.replace("_", "-")
        if not _FIELD_NAME.fullmatch(name) or read_as in _KEPT_BACK:
            continue
        if not read_as.startswith(_KEPT_BACK_PREFIXES):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if sum(len(name) + len(value) for name, value in headers.items()) > MOST_HEADER_CHARACTERS:
        raise CredentialRejected("the request has more headers than the auth service is asked with")
    return tuple(sorted(headers.items()))


def _asked_name(name: str) -> str:
    """The name, or as many whole characters at its beginning as there is room for."""
    return name.encode()[:MOST_NAME_BYTES].decode(errors="ignore")


def _caller_headers(metadata: Metadata) -> list[tuple[str, str]]:
    pairs = list(metadata or ())
    for key, value in pairs:
        if key == FORWARDED_HEADERS_KEY and isinstance(value, bytes):
            return _forwarded(value)
    return [(key, value) for key, value in pairs if isinstance(value, str)]


def _forwarded(value: bytes) -> list[tuple[str, str]]:
    try:
        return _FORWARDED.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestMalformed("forwarded headers that are not JSON pairs of text") from None
