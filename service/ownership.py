"""Owns the tenant wall's one question: whose room is this, and may the caller see it?

Step before: `service.directory` holds the rooms as LiveKit gave them, and asks `owner_of` about each one's
metadata. Step after: whatever answers a caller passes on only the rooms that `may_see` lets through.

A room is owned by the `auth_id` at the top level of its metadata. Anybody who can make a room chooses that
text, so the rule is strict: what two parsers could read differently has no owner.
"""

import re
from enum import Enum
from itertools import accumulate
from typing import Final

import msgspec

from service.auth.principal import AllRooms, OneTenant, Scope, TenantId

MAX_DEPTH = 128
"""How deep metadata may nest. The top-level object is depth 1; each object or array in it adds one."""


class Ownerless(Enum):
    """Why a room has no owner; the value is the reason's name in metrics.

    One reason is given where several hold. No member is a text, so none can ever equal a tenant's id.
    """

    NO_METADATA = "no_metadata"
    """The metadata is empty."""
    NO_AUTH_ID = "no_auth_id"
    """There is no `auth_id` at the top level. Text without the word is not looked at further, JSON or not."""
    NOT_JSON = "not_json"
    """It is not valid JSON."""
    BYTE_ORDER_MARK = "byte_order_mark"
    """It begins with a byte order mark, which nobody sees on a screen; so it is not valid JSON."""
    UNPAIRED_SURROGATE = "unpaired_surrogate"
    """Half of a surrogate pair stands alone in it, written as an escape or as such."""
    TOO_DEEP = "too_deep"
    """It nests deeper than `MAX_DEPTH`."""
    NOT_AN_OBJECT = "not_an_object"
    """It is JSON, but its top level is no object."""
    AUTH_ID_NOT_A_STRING = "auth_id_not_a_string"
    """The value of `auth_id` is not a string."""
    AUTH_ID_REPEATED = "auth_id_repeated"
    """There is more than one `auth_id` at the top level."""


Owner = TenantId | Ownerless
"""Whose a room is, or why it is nobody's."""


def owner_of(metadata: str) -> Owner:
    """The id of the tenant that owns a room with this metadata, exactly as it is written there.

    A tenant owns it only if the text is valid JSON (RFC 8259), without a byte order mark or an unpaired
    surrogate, nested no deeper than `MAX_DEPTH`, and an object with exactly one top-level member `auth_id`
    (names compared after unescaping), a string. The id is neither trimmed nor folded nor normalized, so it
    may be text that no tenant is called, such as "". Else the answer is the reason why nobody owns it.

    Never raises. Ordinary metadata of 1 KiB takes 2 to 4 µs; hostile text takes at most some 30 µs per KiB,
    15 ms for LiveKit's limit of 512 KiB. Most of that holds the interpreter's lock, so a long pass on an
    event loop gains by yielding between long texts, not by a thread.
    """
    try:
        return _owner_in(metadata)
    except UnicodeEncodeError:  # the string itself has a surrogate in it
        return Ownerless.UNPAIRED_SURROGATE
    except RecursionError:  # far deeper than MAX_DEPTH
        return Ownerless.TOO_DEEP


def may_see(scope: Scope, owner: Owner) -> bool:
    """Whether a caller with this scope may see a room of this owner. An ownerless room is no tenant's."""
    match scope:
        case AllRooms():
            return True
        case OneTenant(tenant_id):
            return isinstance(owner, str) and owner == tenant_id


def same_owner(one: Owner, other: Owner) -> bool:
    """Whether a room changed hands between these two: a room is nobody's for whatever reason."""
    return one == other or (isinstance(one, Ownerless) and isinstance(other, Ownerless))


class _Room(msgspec.Struct):
    """What a room's metadata must hold; other members are checked to be JSON, and skipped unread.

    msgspec takes the last of several `auth_id` for the one, and any depth for fine. In all else it refuses
    exactly what the owner rule refuses. The tests hold it to that.
    """

    auth_id: str | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Room).decode

# Looked up once: a member of an Enum costs as much as the rest of the answer for a room without metadata.
_UNSET: Final = msgspec.UNSET
_NO_METADATA: Final = Ownerless.NO_METADATA
_NO_AUTH_ID: Final = Ownerless.NO_AUTH_ID


def _owner_in(metadata: str) -> Owner:
    """`owner_of`, but raises UnicodeEncodeError and RecursionError.

    Each check runs only where a quicker one leaves a doubt: ordinary metadata is decoded once, no more.
    """
    spelled_out = metadata.count("auth_id")
    escapes = "\\" in metadata and "\\u" in metadata  # of all escapes only \u can spell a letter of auth_id
    if not spelled_out and not escapes:
        return _NO_AUTH_ID if metadata else _NO_METADATA
    text = metadata.encode()
    try:
        owner = _decode(text).auth_id
    except msgspec.DecodeError:  # not JSON, not an object, or an auth_id that is not a string
        return _why_refused(text)
    if owner is _UNSET:
        return _NO_AUTH_ID
    if (spelled_out > 1 or escapes) and _count_claims(text) > 1:
        return Ownerless.AUTH_ID_REPEATED
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        return Ownerless.TOO_DEEP
    return TenantId(owner)


_BYTE_ORDER_MARK: Final = "\ufeff".encode()
_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_is_json = msgspec.json.Decoder(msgspec.Raw).decode  # reads all of it, and builds nothing


def _why_refused(text: bytes) -> Ownerless:
    """Why `_decode` refused this text; may raise RecursionError."""
    try:
        _is_json(text)
    except msgspec.DecodeError:
        return _why_not_json(text)
    if _depth(text) > MAX_DEPTH:
        return Ownerless.TOO_DEEP
    is_object = text.lstrip(b" \t\n\r").startswith(b"{")
    return Ownerless.AUTH_ID_NOT_A_STRING if is_object else Ownerless.NOT_AN_OBJECT


def _why_not_json(text: bytes) -> Ownerless:
    if text.startswith(_BYTE_ORDER_MARK):
        return Ownerless.BYTE_ORDER_MARK
    try:
        # Any escapes that stand for whole characters do: only whether the text is JSON then matters.
        _is_json(_ESCAPED_SURROGATE.sub(rb"\\u0000", text))
    except msgspec.DecodeError:
        return Ownerless.NOT_JSON
    return Ownerless.UNPAIRED_SURROGATE


class _Claim:
    """Stands in for the value of one top-level `auth_id`."""


class _Claims(msgspec.Struct):
    """`_Room`, read in such a way that each `auth_id` is seen."""

    auth_id: _Claim


def _count_claims(text: bytes) -> int:
    """How many top-level members are named `auth_id`, in a text that `_decode` accepted."""
    claims = 0

    def count(claim: type[_Claim], _value: str) -> _Claim:
        nonlocal claims
        claims += 1
        return claim()

    msgspec.json.decode(text, type=_Claims, dec_hook=count)  # calls the hook for each of them
    return claims


_OPENING, _CLOSING = b"[{", b"]}"
_STEPS = bytes.maketrans(_OPENING + _CLOSING, b"\x01\x01\xff\xff")  # one level up or, as a signed byte, down
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in _OPENING + _CLOSING)


def _depth(text: bytes) -> int:
    """How deep this JSON text nests."""
    if b"\\" in text:  # only strings hold backslashes; pairs go first, so that one left before a " escapes it
        text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    outside_strings = b"".join(text.split(b'"')[::2])
    steps = outside_strings.translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0)
