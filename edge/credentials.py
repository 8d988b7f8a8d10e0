"""Owns how a credential is taken from a request: which header, which query parameter, which one wins.

Whether a credential is good is the service's to say; here is decided only which one is passed on.
Before it: `asgi`. After it: `rooms`, which passes the credential on or refuses the call.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final
from urllib.parse import unquote_to_bytes

MAX_TOKEN_BYTES: Final = 8192

_TOKEN: Final = re.compile(rb"[\x21-\x7e]{1,%d}" % MAX_TOKEN_BYTES)
_BEARER: Final = re.compile(rb"bearer(?=[ \t]|$)", re.IGNORECASE)


class Kind(Enum):
    """What a request presents."""

    NOTHING = auto()
    """No credential at all."""
    TOKEN = auto()
    """One usable token."""
    UNUSABLE = auto()
    """Something, but no token: what that means is the service's policy."""
    REFUSED = auto()
    """Something ambiguous, or that can never be a token: 401 whatever the policy."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request presents as its credential.

    Attributes:
        kind: what it is.
        token: the token, if and only if the kind is TOKEN. Kept out of `repr`.
    """

    kind: Kind
    token: str | None = field(default=None, repr=False)


_NOTHING: Final = Credential(Kind.NOTHING)
_UNUSABLE: Final = Credential(Kind.UNUSABLE)
_REFUSED: Final = Credential(Kind.REFUSED)


def read_credential(authorizations: Iterable[bytes], query: bytes) -> Credential:
    """The credential of a request.

    The header wins over `api_key`; a header that is no Bearer token at all gives way to it. Two
    different values in either place are refused, however good the other place is.

    Args:
        authorizations: the value of every `Authorization` header.
        query: the raw query string, without `?`.
    """
    headers = set(authorizations)
    keys = set(_api_keys(query)) if query else set()
    if len(headers) > 1 or len(keys) > 1:
        return _REFUSED
    from_header = _from_header(headers.pop()) if headers else _NOTHING
    if not keys or from_header.kind in (Kind.TOKEN, Kind.REFUSED):
        return from_header
    return _from_api_key(keys.pop())


def without_api_key(query: bytes) -> bytes:
    """The query string without its `api_key` parameters, so that nothing further in can record one."""
    if not query:
        return query
    return b"&".join(part for part in query.split(b"&") if not _is_api_key(part))


def _from_header(value: bytes) -> Credential:
    scheme = _BEARER.match(value)
    if scheme is None:
        return _UNUSABLE
    token = value[scheme.end() :].strip(b" ")
    return _token(token) if token else _UNUSABLE


def _from_api_key(value: bytes) -> Credential:
    return _token(value) if value else _UNUSABLE


def _token(value: bytes) -> Credential:
    if _TOKEN.fullmatch(value) is None:
        return _REFUSED
    return Credential(Kind.TOKEN, value.decode("ascii"))


def _api_keys(query: bytes) -> Iterable[bytes]:
    # Not parse_qsl: it turns `+` into a blank and bytes that are not UTF-8 into U+FFFD.
    for part in query.split(b"&"):
        if _is_api_key(part):
            yield unquote_to_bytes(part.partition(b"=")[2])


def _is_api_key(part: bytes) -> bool:
    return unquote_to_bytes(part.partition(b"=")[0]) == b"api_key"
