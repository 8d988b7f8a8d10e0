"""Owns the batching of rooms by name: concurrent callers share one question that names all their rooms.

Step before: `service.directory` needs one room as it is now. Step after: `service.livekit` asks.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from livekit.protocol.models import Room

from service.batches import Batches
from service.ownership import Owner
from service.room_records import by_asked_name, decoded_room

_MOST_NAMES: Final = 500
"""In one question. Names are up to 256 bytes long."""


@dataclass(frozen=True, slots=True)
class OwnedRoom:
    """A room as LiveKit gave it, and its owner, or why nobody owns it."""

    room: Room
    owner: Owner


class NamedRoomsSource(Protocol):
    """Where rooms come from by name: `service.livekit.LiveKit`."""

    async def list_rooms_named(self, names: Collection[str]) -> Sequence[bytes]:
        """The records of those of these rooms that exist; at least one name is given."""
        ...


class NamedRooms:
    """Finds rooms by name, with one question at a time for all who came before it was asked.

    Args:
        source: who is asked.
        owner_of: the owner that a room's metadata names.
    """

    def __init__(self, source: NamedRoomsSource, owner_of: Callable[[str], Owner]) -> None:
        self._source = source
        self._owner_of = owner_of
        self._batches: Batches[str, OwnedRoom | None] = Batches(self._found, _in_parts)

    async def find(self, name: str) -> OwnedRoom | None:
        """The room of this name as of a reading that begins after this call, or None when there is none.

        Raises:
            LiveKitUnavailable, LiveKitFailed: LiveKit could not say about this name.
        """
        return await self._batches.find(name)

    async def _found(self, names: Sequence[str]) -> dict[str, OwnedRoom | None]:
        records = await self._source.list_rooms_named(names)
        rooms = by_asked_name(names, map(decoded_room, records), lambda room: room.name)
        found: dict[str, OwnedRoom | None] = dict.fromkeys(names)
        for name, room in rooms.items():
            found[name] = OwnedRoom(room, self._owner_of(room.metadata))
        return found


def _in_parts(names: Sequence[str]) -> Sequence[Sequence[str]]:
    return [names[start : start + _MOST_NAMES] for start in range(0, len(names), _MOST_NAMES)]
