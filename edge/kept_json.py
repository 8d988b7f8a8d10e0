"""Owns the JSON of the service's answers, and that the same answer is not made into JSON again and again.

What is kept is found by nothing but the very bytes of the service's answer: whoever gets the JSON has just
been given these bytes. So nothing is kept by caller, credential or room, and nothing is older than its call.
Before it: `rooms` with an answer. After it: `room_json`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from edge.room_json import details_json, participants_json, summaries_json
from tenantrooms.v1.tenant_rooms_pb2 import GetRoomResponse, ListRoomsResponse

KEPT_BYTES: Final = 4 * 1024 * 1024
"""Of answers whose JSON is kept, for lists and for details each. The JSON comes to about twice that."""

ENTRY_BYTES: Final = 512
"""What each kept answer counts beside its own bytes: an entry of the table, and the heads of its objects."""

LARGEST_KEPT: Final = 128 * 1024
"""An answer that is larger is not kept: one of them would push out hundreds."""

_ENCODED_AT_ONCE: Final = 2_000
"""Rooms that are made into JSON before other requests get their turn: some 3 ms."""

_BYTES_ENCODED_AT_ONCE: Final = 64 * 1024
"""Of participants, some of whom have a thousand times the attributes of others: some 2 ms."""

Item = TypeVar("Item")
Made = TypeVar("Made")


class RoomsJson:
    """Makes JSON of the service's encoded answers; raises DecodeError for what is none."""

    def __init__(self) -> None:
        self._pages: Kept[tuple[bytes, str]] = Kept()
        self._details: Kept[bytes] = Kept()

    async def of_page(self, answer: bytes) -> tuple[bytes, str]:
        """A page's rooms, to be put together by `list_json`, and the token of the next page."""
        if (made := self._pages.get(answer)) is None:
            page = ListRoomsResponse.FromString(answer)
            pieces = await _in_turns(summaries_json, page.rooms, _ENCODED_AT_ONCE)
            made = b",".join(pieces), page.next_page_token
            self._pages.keep(answer, made)
        return made

    async def of_details(self, answer: bytes) -> bytes:
        """The body of a room's details."""
        if (made := self._details.get(answer)) is None:
            response = GetRoomResponse.FromString(answer)
            participants = response.participants
            at_once = len(participants) // (len(answer) // _BYTES_ENCODED_AT_ONCE + 1) + 1
            pieces = await _in_turns(participants_json, participants, at_once)
            made = details_json(response.room, pieces)
            self._details.keep(answer, made)
        return made


async def _in_turns(
    encode: Callable[[Sequence[Item]], bytes], items: Sequence[Item], at_once: int
) -> list[bytes]:
    """What this makes of so many at once; between any two of these, other requests get their turn."""
    pieces: list[bytes] = []
    for start in range(0, len(items), at_once):
        if start:
            await asyncio.sleep(0)
        pieces.append(encode(items[start : start + at_once]))
    return pieces


class Kept(Generic[Made]):
    """What was made of some bytes, for those asked for last.

    Args:
        most: bytes of all of them together.
    """

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most = most
        self._size = 0
        self._made: OrderedDict[bytes, Made] = OrderedDict()

    def get(self, answer: bytes) -> Made | None:
        """What was made of exactly these bytes."""
        made = self._made.get(answer)
        if made is not None:
            self._made.move_to_end(answer)
        return made

    def keep(self, answer: bytes, made: Made) -> None:
        """Keeps what was made of these bytes, in place of those that were not asked for the longest."""
        if len(answer) > LARGEST_KEPT or answer in self._made:
            return
        self._made[answer] = made
        self._size += len(answer) + ENTRY_BYTES
        while self._size > self._most:
            self._size -= len(self._made.popitem(last=False)[0]) + ENTRY_BYTES
