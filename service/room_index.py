"""Owns one whole reading of LiveKit's rooms, grouped by owner, and what it takes to make the next one.

Step before: `service.scans` has the records of all rooms. Step after: `service.directory` takes from it the
rooms of one scope.

Most records of a reading are byte for byte those of the reading before. These are recognized without being
decoded, and keep what was made of them.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from typing import Final

from livekit.protocol.models import Room

from service.auth.principal import AllRooms, OneTenant, Scope
from service.ownership import Owner, may_see
from service.room_records import decoded_room
from service.turns import Turns

_RECORDS_PER_STEP: Final = 500
"""Known records that are looked at between two looks at the clock: some 0.2 ms."""

_LARGEST_KEY: Final = 2_048
"""Bytes up to which a record is its own key. Of a larger one a digest is kept, so that metadata is not."""

_SORTED_AT_ONCE: Final = 10_000

_NO_RECORD: Final = b"\0"
"""Begins no record, as protobuf has no field 0: a digest after it is no record's own key."""


class ListedRoom:
    """A room as lists show it.

    Attributes:
        name: its name.
        owner: whose it is, or why nobody owns it.
    """

    __slots__ = ("_key", "_summarize", "_summary", "name", "owner")

    def __init__(
        self, record: bytes, owner_of: Callable[[str], Owner], summarize: Callable[[Room], bytes]
    ) -> None:
        room = decoded_room(record)
        self.name = room.name
        self.owner = owner_of(room.metadata)
        self._key = _key_of(record)
        self._summarize = summarize
        # A digest cannot be decoded later.
        self._summary = summarize(room) if self._key is not record else None

    @property
    def summary(self) -> bytes:
        """What `summarize` makes of the room; made once, when it is first asked for."""
        if self._summary is None:
            self._summary = self._summarize(decoded_room(self._key))
        return self._summary


class RoomIndex:
    """The rooms of one reading. Never changes; `updated` makes the index of the next reading.

    Args:
        owner_of: the owner that a room's metadata names.
        summarize: what lists show of a room, as bytes; opaque here.
        rooms: every room, by the key of its record.
    """

    def __init__(
        self,
        owner_of: Callable[[str], Owner],
        summarize: Callable[[Room], bytes],
        rooms: Mapping[bytes, ListedRoom] | None = None,
    ) -> None:
        self._owner_of = owner_of
        self._summarize = summarize
        self._rooms = rooms or {}
        self._groups: dict[Owner, list[ListedRoom]] = {}
        self._sorted: dict[Scope, Sequence[ListedRoom]] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    async def updated(self, records: Sequence[bytes]) -> "RoomIndex":
        """The index of these records, which are one whole reading. Is this very index when nothing changed.

        Raises:
            LiveKitFailed: one of them is no room.
        """
        rooms: dict[bytes, ListedRoom] = {}
        turns = Turns()
        changed = len(records) != len(self._rooms)
        for start in range(0, len(records), _RECORDS_PER_STEP):
            step = records[start : start + _RECORDS_PER_STEP]
            found, new = await self._recognized(step, turns)
            changed = changed or new
            # The keys that are kept are the old ones: this reading's own bytes are let go.
            rooms.update(zip(map(_kept_key, found), found, strict=True))
            await turns.pass_on()
        if not changed and len(rooms) == len(self._rooms):
            return self
        index = RoomIndex(self._owner_of, self._summarize, rooms)
        await index._group(turns)
        return index

    async def recognized(self, records: Sequence[bytes]) -> list[ListedRoom]:
        """The rooms of these records, in their order.

        Raises:
            LiveKitFailed: one of them is no room.
        """
        rooms, _ = await self._recognized(records, Turns())
        return rooms

    async def rooms(self, scope: Scope) -> Sequence[ListedRoom]:
        """The rooms that this scope may see, sorted by name (by code point)."""
        found = self._sorted.get(scope)
        if found is None:
            found = await _sorted(self._visible_to(scope))
            if found:  # tenants without rooms can be without number
                self._sorted[scope] = found
        return found

    def count(self, owner: Owner) -> int:
        """How many rooms have this owner."""
        return len(self._groups.get(owner, ()))

    def _visible_to(self, scope: Scope) -> list[ListedRoom]:
        match scope:
            case AllRooms():
                candidates: Collection[ListedRoom] = self._rooms.values()
            case OneTenant(tenant_id):
                candidates = self._groups.get(tenant_id, ())
        return [room for room in candidates if may_see(scope, room.owner)]

    async def _recognized(self, records: Sequence[bytes], turns: Turns) -> tuple[list[ListedRoom], bool]:
        """The rooms of these records, and whether any of them was not known."""
        known = [*map(self._rooms.get, map(_key_of, records))]
        if None not in known:
            return known, False  # type: ignore[return-value]  # there is no None in it
        rooms: list[ListedRoom] = []
        for room, record in zip(known, records, strict=True):
            if room is None:
                rooms.append(ListedRoom(record, self._owner_of, self._summarize))
                await turns.pass_on()
            else:
                rooms.append(room)
        return rooms, True

    async def _group(self, turns: Turns) -> None:
        for number, room in enumerate(self._rooms.values(), 1):
            self._groups.setdefault(room.owner, []).append(room)
            if number % _RECORDS_PER_STEP == 0:
                await turns.pass_on()


_kept_key = attrgetter("_key")
_name = attrgetter("name")


def _key_of(record: bytes) -> bytes:
    if len(record) <= _LARGEST_KEY:
        return record
    return _NO_RECORD + hashlib.blake2b(record).digest()


async def _sorted(rooms: list[ListedRoom]) -> Sequence[ListedRoom]:
    """These rooms by name. Very many are sorted in parts, which the last sort then only merges."""
    turns = Turns()
    if len(rooms) > _SORTED_AT_ONCE:
        for start in range(0, len(rooms), _SORTED_AT_ONCE):
            rooms[start : start + _SORTED_AT_ONCE] = sorted(rooms[start : start + _SORTED_AT_ONCE], key=_name)
            await turns.pass_on()
    rooms.sort(key=_name)
    return rooms
