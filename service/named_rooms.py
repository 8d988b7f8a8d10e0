"""Owns the batching of rooms by name: concurrent callers share one question that names all their rooms.

Step before: `service.directory` needs one room as it is now. Step after: `service.livekit` asks.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from livekit.protocol.models import Room

from service.errors import LiveKitFailed, LiveKitRefused, LiveKitUnavailable
from service.flights import Flights
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


_Outcome = OwnedRoom | None | LiveKitUnavailable | LiveKitFailed


class NamedRooms:
    """Finds rooms by name, with one question at a time for all who came before it was asked.

    Args:
        source: who is asked.
        owner_of: the owner that a room's metadata names.
    """

    def __init__(self, source: NamedRoomsSource, owner_of: Callable[[str], Owner]) -> None:
        self._source = source
        self._owner_of = owner_of
        self._asked_for: set[str] = set()
        self._flights: Flights[None, dict[str, _Outcome]] = Flights(self._ask)

    async def find(self, name: str) -> OwnedRoom | None:
        """The room of this name as of a reading that begins after this call, or None when there is none.

        Raises:
            LiveKitUnavailable, LiveKitFailed: LiveKit could not say about this name.
        """
        self._asked_for.add(name)
        outcome = (await self._flights.join(None))[name]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _ask(self, _key: None) -> dict[str, _Outcome]:
        # Who adds a name from here on takes the next flight.
        names, self._asked_for = [*self._asked_for], set()
        parts = [names[start : start + _MOST_NAMES] for start in range(0, len(names), _MOST_NAMES)]
        outcomes: dict[str, _Outcome] = {}
        for found in await asyncio.gather(*map(self._outcomes, parts)):
            outcomes |= found
        return outcomes

    async def _outcomes(self, names: Sequence[str]) -> dict[str, _Outcome]:
        """What became of each name. One that LiveKit fails at never fails the others.

        A question that failed is asked in halves, down to the names that LiveKit fails at: fewer than two
        questions for each name, and none where the failure is not about any of the rooms.
        """
        try:
            return await self._found(names)
        except (LiveKitUnavailable, LiveKitRefused) as error:
            return dict.fromkeys(names, error)
        except LiveKitFailed as error:
            if len(names) == 1:
                return {names[0]: error}
        middle = len(names) // 2
        first, second = await asyncio.gather(self._outcomes(names[:middle]), self._outcomes(names[middle:]))
        return first | second

    async def _found(self, names: Sequence[str]) -> dict[str, _Outcome]:
        records = await self._source.list_rooms_named(names)
        rooms = by_asked_name(names, map(decoded_room, records), lambda room: room.name)
        outcomes: dict[str, _Outcome] = dict.fromkeys(names)
        for name, room in rooms.items():
            outcomes[name] = OwnedRoom(room, self._owner_of(room.metadata))
        return outcomes
