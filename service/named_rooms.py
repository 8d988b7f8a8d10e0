"""Owns the batching of rooms by name: concurrent callers share one question that names all their rooms.

Step before: `service.directory` needs one room as it is now. Step after: `service.livekit` asks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Final, Protocol

from livekit.protocol.models import Room

from service.auth.principal import Scope
from service.batches import Asker, Batches
from service.errors import LiveKitFailed
from service.ownership import Owner, may_see
from service.room_records import by_asked_name, decoded_room
from service.searches import Searches
from service.turns import Turns

_MOST_NAMES: Final = 100
"""In one question: what LiveKit is slow at, or fails at with a time-out, takes so many names with it."""

_MOST_KNOWN: Final = 32_768
"""Names, each with who asked for it, that are known to be its own."""

_name = attrgetter("room.name")


async def at_once() -> None:
    """Waits for nothing."""


@dataclass(slots=True)
class OwnedRoom:
    """A room as LiveKit gave it, and its owner, or why nobody owns it. All who asked together share it.

    Attributes:
        shown: what answers show of the room, encoded, once one of them has made it; opaque here.
    """

    room: Room
    owner: Owner
    shown: bytes | None = field(default=None, init=False, compare=False, repr=False)


class NamedRoomsSource(Protocol):
    """Where rooms come from by name: `service.livekit.LiveKit`."""

    async def list_rooms_named(self, names: Collection[str]) -> Sequence[bytes]:
        """The records of those of these rooms that exist; at least one name is given."""
        ...


class NamedRooms:
    """Finds rooms by name, with one question at a time for all who came before it was asked.

    Or rather with two: one about names that were their askers' own when these last asked, one about all
    others. An answer that shared a question with a masked one has to wait (ADR 14), so who asks for rooms
    that are not there must not share with those who ask for theirs.

    Args:
        source: who is asked.
        owner_of: the owner that a room's metadata names.
        undisturbed: returns when it holds up no masked answer to look at what may be masked itself.
    """

    def __init__(
        self,
        source: NamedRoomsSource,
        owner_of: Callable[[str], Owner],
        undisturbed: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self._source = source
        self._owner_of = owner_of
        self._one_at_a_time = asyncio.Lock()
        self._own: Batches[str, OwnedRoom | None] = Batches(
            partial(self._found, at_once), _in_parts, _is_masked
        )
        self._others: Batches[str, OwnedRoom | None] = Batches(
            partial(self._found, undisturbed), _in_parts, _is_masked
        )
        self._known: dict[tuple[Scope, str], None] = {}
        self._searches = Searches()

    async def find(self, name: str, asker: Asker) -> OwnedRoom | None:
        """The room of this name as of a reading that begins after this call, or None when there is none.

        Raises:
            LiveKitUnavailable: LiveKit could not say within its time, to a question with this name and up
                to 99 others. A name that LiveKit is slow at fails those, and no more.
            LiveKitFailed: LiveKit could not say about this name.
        """
        asker.searches = self._searches
        place = asker.scope, name
        known = place in self._known
        try:
            if known:
                found = await self._own.find(name, asker)
            else:
                with self._searches.under_way(asker.scope):
                    found = await self._others.find(name, asker)
        except BaseException as error:
            self._searches.masked(asker.scope)  # as far as anybody knows, also when the caller has left
            if isinstance(error, LiveKitFailed):
                self._known.pop(place, None)
            raise
        if _is_masked(asker.scope, found):
            self._searches.masked(asker.scope)
            self._known.pop(place, None)
        elif not known:
            self._remember(place)
        return found

    def _remember(self, place: tuple[Scope, str]) -> None:
        if len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[place] = None

    async def _found(
        self, undisturbed: Callable[[], Awaitable[None]], names: Sequence[str]
    ) -> dict[str, OwnedRoom | None]:
        records = await self._source.list_rooms_named(names)
        await undisturbed()
        turns = Turns()
        rooms: list[OwnedRoom] = []
        for record in records:
            # Large metadata takes some milliseconds each, and other parts may be at work, too.
            async with self._one_at_a_time:
                room = decoded_room(record)
                rooms.append(OwnedRoom(room, self._owner_of(room.metadata)))
                await turns.pass_on()
            await undisturbed()
        found: dict[str, OwnedRoom | None] = dict.fromkeys(names)
        return found | by_asked_name(names, rooms, _name)


def _is_masked(scope: Scope, owned: OwnedRoom | None) -> bool:
    return owned is None or not may_see(scope, owned.owner)


def _in_parts(names: Sequence[str]) -> Sequence[Sequence[str]]:
    return [names[start : start + _MOST_NAMES] for start in range(0, len(names), _MOST_NAMES)]
