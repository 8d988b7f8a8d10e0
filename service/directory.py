"""Owns what is known of LiveKit's rooms at this moment: which there are, and whose each one is.

Step before: `service.rooms` has settled what a request may see. Step after: `service.livekit` asks.

Every answer rests on a reading of LiveKit that began after the call arrived.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from livekit.protocol.models import ParticipantInfo, Room

from service.auth.principal import Scope
from service.consistency import Consistency
from service.errors import LiveKitNotConfigured
from service.ownership import Owner, Ownerless, may_see

_CHARACTERS_PER_TURN: Final = 256 * 1024
"""How much metadata is looked at before other calls get their turn on the event loop."""

_CHARACTERS_PER_ROOM: Final = 256
"""What a room costs besides its metadata, in the same measure."""


@dataclass(frozen=True, slots=True)
class OwnedRoom:
    """A room as LiveKit gave it, and its owner, or why nobody owns it."""

    room: Room
    owner: Owner


OnScan = Callable[[int, Mapping[Ownerless, int]], None]
"""Told of each reading of all rooms how many have an owner, and how many have none, by reason."""


class RoomSource(Protocol):
    """Where rooms and participants come from: `service.livekit.LiveKit`."""

    async def list_all_rooms(self) -> list[Room]:
        """Every room of the deployment, in no order."""
        ...

    async def list_rooms_named(self, names: Collection[str]) -> dict[str, Room]:
        """Those of these rooms that exist, by name; at least one name is given."""
        ...

    async def list_participants(self, room_name: str) -> list[ParticipantInfo]:
        """Who is in this room; RoomNotFound, or an empty list, where there is none."""
        ...


class Directory:
    """Asks LiveKit anew for each call.

    Args:
        source: who is asked.
        owner_of: the owner that a room's metadata names, or why it names none.
        on_scan: told what each reading of all rooms found, once all were looked at.
    """

    def __init__(
        self,
        source: RoomSource,
        owner_of: Callable[[str], Owner],
        on_scan: OnScan = lambda _owned, _ownerless: None,
    ) -> None:
        self._source = source
        self._owner_of = owner_of
        self._on_scan = on_scan

    async def rooms(self, scope: Scope, consistency: Consistency) -> Sequence[OwnedRoom]:
        """The rooms that this scope may see, sorted by name (by code point).

        Fully consistent whatever was asked for, which either consistency allows.

        Raises:
            LiveKitNotConfigured, LiveKitUnavailable, LiveKitFailed: LiveKit could not say.
        """
        visible: list[OwnedRoom] = []
        ownerless: Counter[Ownerless] = Counter()
        looked_at = 0
        rooms = await self._source.list_all_rooms()
        for room in rooms:
            owned = self._owned(room)
            if isinstance(owned.owner, Ownerless):
                ownerless[owned.owner] += 1
            if may_see(scope, owned.owner):
                visible.append(owned)
            looked_at += _CHARACTERS_PER_ROOM + len(room.metadata)
            if looked_at >= _CHARACTERS_PER_TURN:
                looked_at = 0
                await asyncio.sleep(0)
        self._on_scan(len(rooms) - ownerless.total(), ownerless)
        visible.sort(key=lambda owned: owned.room.name)
        return visible

    async def room(self, name: str) -> OwnedRoom | None:
        """The room of this name, whoever owns it, or None when there is none.

        Raises:
            LiveKitNotConfigured, LiveKitUnavailable, LiveKitFailed: LiveKit could not say.
        """
        room = (await self._source.list_rooms_named([name])).get(name)
        return None if room is None else self._owned(room)

    async def participants(self, room_name: str) -> Sequence[ParticipantInfo]:
        """Who is in the room of this name, whoever owns it.

        Raises:
            RoomNotFound: LiveKit says that there is no such room; it may also give an empty list.
            LiveKitNotConfigured, LiveKitUnavailable, LiveKitFailed: LiveKit could not say.
        """
        return await self._source.list_participants(room_name)

    def _owned(self, room: Room) -> OwnedRoom:
        return OwnedRoom(room, self._owner_of(room.metadata))


class UnconfiguredDirectory:
    """The directory of a service that has no LiveKit credentials: every question fails."""

    async def rooms(self, scope: Scope, consistency: Consistency) -> Sequence[OwnedRoom]:
        """Raises LiveKitNotConfigured."""
        raise LiveKitNotConfigured

    async def room(self, name: str) -> OwnedRoom | None:
        """Raises LiveKitNotConfigured."""
        raise LiveKitNotConfigured

    async def participants(self, room_name: str) -> Sequence[ParticipantInfo]:
        """Raises LiveKitNotConfigured."""
        raise LiveKitNotConfigured
