"""Owns the tenant wall's one question: whose room is this, and may the caller see it?

Step before: `service.directory` holds the rooms as LiveKit gave them, and asks `owner_of` about each one's
metadata. Step after: whatever answers a caller passes on only the rooms that `may_see` lets through.

A room is owned by the `auth_id` at the top level of its metadata. Anybody who can make a room chooses that
text, so the rule is strict: what two parsers could read differently has no owner.
"""

from itertools import accumulate

import msgspec

from service.auth.principal import AllRooms, OneTenant, Scope, TenantId

MAX_DEPTH = 128
"""How deep metadata may nest. The top-level object is depth 1; each object or array in it adds one."""


def owner_of(metadata: str) -> TenantId | None:
    """The id of the tenant that owns a room with this metadata, exactly as it is written there.

    None means that no tenant owns it, which is the answer unless the text is valid JSON (RFC 8259), without
    a byte order mark or an unpaired surrogate, nested no deeper than `MAX_DEPTH`, and an object with exactly
    one top-level member `auth_id` (names compared after unescaping), a string. The id is neither trimmed nor
    folded nor normalized, so it may be text that no tenant is called, such as "".

    Never raises. Ordinary metadata of 1 KiB takes 2 to 4 µs; hostile text takes at most some 30 µs per KiB,
    15 ms for LiveKit's limit of 512 KiB. Most of that holds the interpreter's lock, so a long pass on an
    event loop gains by yielding between long texts, not by a thread.
    """
    try:
        return _owner_in(metadata)
    except UnicodeEncodeError:  # an unpaired surrogate in the string itself
        return None
    except msgspec.DecodeError:  # not JSON, not an object, no auth_id, or one that is not a string
        return None
    except RecursionError:  # far deeper than MAX_DEPTH
        return None


def may_see(scope: Scope, owner: TenantId | None) -> bool:
    """Whether a caller with this scope may see a room of this owner. An ownerless room is no tenant's."""
    match scope:
        case AllRooms():
            return True
        case OneTenant(tenant_id):
            return owner is not None and owner == tenant_id


class _Room(msgspec.Struct):
    """What a room's metadata must hold; other members are checked to be JSON, and skipped unread.

    msgspec takes the last of several `auth_id` for the one, and any depth for fine. In all else it refuses
    exactly what the owner rule refuses. The tests hold it to that.
    """

    auth_id: str


_decode = msgspec.json.Decoder(_Room).decode


def _owner_in(metadata: str) -> TenantId | None:
    """`owner_of`, but raises what the encoder and the decoder raise.

    Each check runs only where a quicker one leaves a doubt: ordinary metadata is decoded once, no more.
    """
    spelled_out = metadata.count("auth_id")
    escapes = "\\" in metadata and "\\u" in metadata  # of all escapes only \u can spell a letter of auth_id
    if not spelled_out and not escapes:
        return None
    text = metadata.encode()
    owner = _decode(text).auth_id
    if (spelled_out > 1 or escapes) and _count_claims(text) > 1:
        return None
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        return None
    return TenantId(owner)


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
    """How deep this JSON text nests, in a text that `_decode` accepted."""
    if b"\\" in text:  # only strings hold backslashes; pairs go first, so that one left before a " escapes it
        text = text.replace(rb"\\", b"").replace(rb"\"", b"")
    outside_strings = b"".join(text.split(b'"')[::2])
    steps = outside_strings.translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")))
