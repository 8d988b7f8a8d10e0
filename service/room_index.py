"""Owns one whole reading of LiveKit's rooms, grouped by owner, and what it takes to make the next one.

Step before: `service.scans` has the records of all rooms. Step after: `service.directory` takes from it the
rooms of one scope.

Most records of a reading are byte for byte those of the reading before. These are recognized without being
decoded, and keep what was made of them.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Final, cast

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
        key: under which its record is recognized.
        name: its name.
        owner: whose it is, or why nobody owns it.
    """

    __slots__ = ("_summarize", "_summary", "key", "name", "owner")

    def __init__(
        self, record: bytes, owner_of: Callable[[str], Owner], summarize: Callable[[Room], bytes]
    ) -> None:
        room = decoded_room(record)
        self.name = room.name
        self.owner = owner_of(room.metadata)
        self.key = _key_of(record)
        self._summarize = summarize
        # A digest cannot be decoded later.
        self._summary = summarize(room) if self.key is not record else None

    @property
    def summary(self) -> bytes:
        """What `summarize` makes of the room; made once, when it is first asked for."""
        if self._summary is None:
            self._summary = self._summarize(decoded_room(self.key))
        return self._summary


class SortedRooms(list[ListedRoom]):
    """The rooms of one scope, sorted by name (by code point). Not to be changed, as callers share them.

    Attributes:
        shown: a whole list of them as it was made for one of these callers, for the next; opaque here.
    """

    __slots__ = ("shown",)

    def __init__(self, rooms: Iterable[ListedRoom] = ()) -> None:
        super().__init__(rooms)
        self.shown: bytes | None = None


class RoomIndex:
    """The rooms of one reading. Never changes; `updated` makes the index of the next reading.

    Args:
        owner_of: the owner that a room's metadata names.
        summarize: what lists show of a room, as bytes; opaque here.
    """

    def __init__(self, owner_of: Callable[[str], Owner], summarize: Callable[[Room], bytes]) -> None:
        self._owner_of = owner_of
        self._summarize = summarize
        self._rooms: dict[bytes, ListedRoom] = {}
        self._groups: dict[Owner, Sequence[ListedRoom]] = {}
        self._sorted: dict[Scope, SortedRooms] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    async def updated(self, records: Sequence[bytes]) -> "RoomIndex":
        """The index of these records, which are one whole reading. Is this very index when nothing changed.

        Raises:
            LiveKitFailed: one of them is no room.
        """
        turns = Turns()
        read: set[ListedRoom] = set()
        came: dict[bytes, ListedRoom] = {}
        for start in range(0, len(records), _RECORDS_PER_STEP):
            known, new = await self._recognized(records[start : start + _RECORDS_PER_STEP], turns)
            read.update(known)
            came.update((room.key, room) for room in new)
            await turns.pass_on()
        if not came and len(read) == len(self._rooms):
            return self
        gone = set(self._rooms.values()) - read
        await turns.pass_on()
        return await self._without_and_with(gone, came, turns)

    async def recognized(self, records: Sequence[bytes]) -> list[ListedRoom]:
        """The rooms of these records, in their order.

        Raises:
            LiveKitFailed: one of them is no room.
        """
        rooms, _ = await self._recognized(records, Turns())
        return rooms

    async def rooms(self, scope: Scope) -> SortedRooms:
        """The rooms that this scope may see, sorted by name (by code point)."""
        found = self._sorted.get(scope)
        if found is None:
            found = SortedRooms(await _sorted(self._visible_to(scope)))
            if found:  # tenants without rooms can be without number
                self._sorted[scope] = found
        return found

    def count(self, owner: Owner) -> int:
        """How many rooms have this owner, or none for this reason."""
        return len(self._groups.get(owner, ()))

    def _visible_to(self, scope: Scope) -> list[ListedRoom]:
        match scope:
            case AllRooms():
                candidates: Collection[ListedRoom] = self._rooms.values()
            case OneTenant(tenant_id):
                candidates = self._groups.get(tenant_id, ())
        return [room for room in candidates if may_see(scope, room.owner)]

    async def _recognized(
        self, records: Sequence[bytes], turns: Turns
    ) -> tuple[list[ListedRoom], list[ListedRoom]]:
        """The rooms of these records, and those among them that are not known yet."""
        keys = records
        if max(map(len, records), default=0) > _LARGEST_KEY:
            keys = await _keys_of(records, turns)
        rooms = [*map(self._rooms.get, keys)]
        new: list[ListedRoom] = []
        place = -1
        for _ in range(rooms.count(None)):
            place = rooms.index(None, place + 1)
            rooms[place] = room = ListedRoom(records[place], self._owner_of, self._summarize)
            new.append(room)
            await turns.pass_on()
        return cast("list[ListedRoom]", rooms), new

    async def _without_and_with(
        self, gone: AbstractSet[ListedRoom], came: dict[bytes, ListedRoom], turns: Turns
    ) -> "RoomIndex":
        """This index with other rooms. What it says of owners whose rooms are the same is taken over."""
        groups: dict[Owner, list[ListedRoom]] = {room.owner: [] for room in (*came.values(), *gone)}
        for room in came.values():
            groups[room.owner].append(room)
        for owner, group in groups.items():
            group.extend(room for room in self._groups.get(owner, ()) if room not in gone)
            await turns.pass_on()
        index = RoomIndex(self._owner_of, self._summarize)
        index._rooms = self._rooms | came
        for room in gone:
            del index._rooms[room.key]
        await turns.pass_on()
        index._groups = {owner: rooms for owner, rooms in (self._groups | groups).items() if rooms}
        index._sorted = {
            scope: rooms
            for scope, rooms in self._sorted.items()
            if isinstance(scope, OneTenant) and scope.tenant_id not in groups
        }
        return index


_name = attrgetter("name")


def _key_of(record: bytes) -> bytes:
    if len(record) <= _LARGEST_KEY:
        return record
    return _NO_RECORD + hashlib.blake2b(record).digest()


async def _keys_of(records: Sequence[bytes], turns: Turns) -> list[bytes]:
    keys: list[bytes] = []
    for record in records:
        keys.append(_key_of(record))
        if len(record) > _LARGEST_KEY:
            await turns.pass_on()
    return keys


async def _sorted(rooms: list[ListedRoom]) -> Sequence[ListedRoom]:
    """These rooms by name. Very many are sorted in parts, which the last sort then only merges."""
    turns = Turns()
    if len(rooms) > _SORTED_AT_ONCE:
        for start in range(0, len(rooms), _SORTED_AT_ONCE):
            rooms[start : start + _SORTED_AT_ONCE] = sorted(rooms[start : start + _SORTED_AT_ONCE], key=_name)
            await turns.pass_on()
    rooms.sort(key=_name)
    return rooms
