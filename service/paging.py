"""Owns pages: where a page ends, and the opaque token that says where the next one begins.

Step before: `service.rooms` has the sorted rooms of one scope. There is no step after.

A token holds the name of the last room shown and a digest of what it was made for. It is not secret and
not signed: a forged one can only choose where among the caller's own rooms a page begins.
"""

import base64
import binascii
import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from service.auth.principal import AllRooms, OneTenant, Scope
from service.consistency import Consistency
from service.errors import PageSizeInvalid, PageTokenInvalid
from service.room_index import ListedRoom

DEFAULT_PAGE_SIZE: Final = 1_000
LARGEST_PAGE_SIZE: Final = 50_000

_VERSION: Final = b"\x01"
_BINDING_BYTES: Final = 16


def cut_page(
    rooms: Sequence[ListedRoom], page_size: int, page_token: str, scope: Scope, consistency: Consistency
) -> tuple[Sequence[ListedRoom], str]:
    """One page of these rooms, which are sorted by name, and the token of the next; empty at the end.

    Raises:
        PageTokenInvalid: the token was made for something else, or not by this function.
    """
    if not page_token and len(rooms) <= page_size:
        return rooms, ""
    start = 0
    if page_token:
        last_shown = _name_in(page_token, scope, consistency)
        start = bisect_right(rooms, last_shown, key=lambda room: room.name)
    page = rooms[start : start + page_size]
    more = start + len(page) < len(rooms)
    return page, _token_after(page[-1].name, scope, consistency) if more else ""


def checked_page_size(requested: int) -> int:
    """The page size to use: 0 is the default, anything above the largest is lowered to it.

    Raises:
        PageSizeInvalid: it is negative.
    """
    if requested < 0:
        raise PageSizeInvalid
    return min(requested or DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE)


def check_page_token(page_token: str, scope: Scope, consistency: Consistency) -> None:
    """Refuses a token that `cut_page` would refuse, before anything is looked up.

    Raises:
        PageTokenInvalid: see `cut_page`.
    """
    if page_token:
        _name_in(page_token, scope, consistency)


def _token_after(name: str, scope: Scope, consistency: Consistency) -> str:
    raw = _VERSION + _binding(scope, consistency) + name.encode()
    return base64.urlsafe_b64encode(raw).decode()


def _name_in(page_token: str, scope: Scope, consistency: Consistency) -> str:
    made_for = _VERSION + _binding(scope, consistency)
    try:
        raw = base64.b64decode(page_token.encode("ascii"), altchars=b"-_", validate=True)
        name = raw.removeprefix(made_for).decode()
    except (UnicodeError, binascii.Error) as error:
        raise PageTokenInvalid from error
    if not raw.startswith(made_for):
        raise PageTokenInvalid
    return name


def _binding(scope: Scope, consistency: Consistency) -> bytes:
    match scope:
        case OneTenant(tenant_id):
            who = b"tenant:" + tenant_id.encode()
        case AllRooms():
            who = b"all"
    return hashlib.sha256(consistency.value.encode() + b"\0" + who).digest()[:_BINDING_BYTES]
