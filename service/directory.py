"""Owns what is known of LiveKit's rooms at this moment: which there are, and whose each one is.

Step before: `service.rooms` has settled what a request may see. Step after: `service.scans` for all rooms,
`service.candidates` for one tenant's at less cost, `service.named_rooms` for one room. These share what
LiveKit is asked between callers.

Every answer rests on a reading of LiveKit that began after the call arrived. (What `MINIMIZE_LATENCY` adds
to that is in `service.candidates`.)
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from livekit.protocol.models import ParticipantInfo, Room

from service.auth.principal import OneTenant, Scope
from service.batches import Asker
from service.candidates import Candidates
from service.consistency import Consistency
from service.errors import LiveKitNotConfigured, Overloaded
from service.flights import Flights
from service.named_rooms import NamedRooms, NamedRoomsSource, OwnedRoom, at_once
from service.ownership import Owner, Ownerless
from service.participants import Participants
from service.places import MOST_WAIT_SECONDS, FairQueue, Limit
from service.room_index import ListedRoom, RoomIndex
from service.scans import AllRoomsSource, Scan, Scans

MOST_PARTICIPANTS_QUESTIONS: Final = 40
"""Questions about participants at a time. That leaves connections to LiveKit for all others."""

OnScan = Callable[[int, Mapping[Ownerless, int]], None]
"""Told of each reading of all rooms how many have an owner, and how many have none, by reason."""


class RoomSource(AllRoomsSource, NamedRoomsSource, Protocol):
    """Where rooms and participants come from: `service.livekit.LiveKit`."""

    async def list_participants(self, room_name: str) -> Sequence[ParticipantInfo]:
        """Who is in this room; RoomNotFound, or an empty list, where there is none."""
        ...


class Directory:
    """Answers all callers with as few questions to LiveKit as their answers' freshness allows.

    Args:
        source: who is asked.
        owner_of: the owner that a room's metadata names.
        summarize: what lists show of a room, as bytes; opaque here.
        index_interval: seconds between whole readings in the background, at least, while lists with
            `MINIMIZE_LATENCY` are asked for.
        on_scan: is told of each whole reading.
        turn_seconds: how long a question about participants may wait for its turn.
        refused: told of each that had none.
        undisturbed: returns when it holds up no masked answer to look at a room that may be masked.
    """

    def __init__(
        self,
        source: RoomSource,
        owner_of: Callable[[str], Owner],
        summarize: Callable[[Room], bytes],
        index_interval: float,
        on_scan: OnScan = lambda _owned, _ownerless: None,
        *,
        turn_seconds: float = MOST_WAIT_SECONDS,
        refused: Callable[[Limit], None] = lambda _: None,
        undisturbed: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self._scans = Scans(source, RoomIndex(owner_of, summarize), partial(_tell, on_scan))
        self._candidates = Candidates(source, self._scans, index_interval)
        self._named = NamedRooms(source, owner_of, undisturbed)
        self._source = source
        self._participants: Flights[tuple[str, Owner], Participants] = Flights(self._list_participants)
        self._turns: FairQueue[Owner] = FairQueue(MOST_PARTICIPANTS_QUESTIONS)
        self._turn_seconds = turn_seconds
        self._refused = refused

    async def rooms(self, scope: Scope, consistency: Consistency) -> Sequence[ListedRoom]:
        """The rooms that this scope may see, sorted by name (by code point).

        Raises:
            LiveKitNotConfigured, LiveKitUnavailable, LiveKitFailed: LiveKit could not say.
        """
        if consistency is Consistency.MINIMIZE_LATENCY and isinstance(scope, OneTenant):
            return await self._candidates.rooms(scope)
        return await (await self._scans.next()).index.rooms(scope)

    # Plain functions, as each further coroutine on the way costs whenever its call goes on.

    def room(self, name: str, asker: Asker) -> Coroutine[Any, Any, OwnedRoom | None]:
        """The room of this name, whoever owns it, or None when there is none; `asker` learns beside what.

        Raises:
            LiveKitNotConfigured, LiveKitUnavailable, LiveKitFailed: LiveKit could not say.
        """
        return self._named.find(name, asker)

    def participants(self, room_name: str, owner: Owner) -> Coroutine[Any, Any, Participants]:
        """Who is in the room of this name, whoever owns it by now.

        Args:
            room_name: the room's.
            owner: whose it was a moment ago. Where LiveKit is slow at one owner's rooms, these wait for each
                other, and nobody else's do.

        Raises:
            Overloaded: there are too many such questions about this owner's rooms, or about all.
            RoomNotFound: LiveKit says that there is no such room; it may also give an empty list.
            LiveKitNotConfigured, LiveKitUnavailable, LiveKitFailed: LiveKit could not say.
        """
        return self._participants.join((room_name, owner))

    async def close(self) -> None:
        """Ends what goes on in the background."""
        await self._candidates.close()

    async def _list_participants(self, room: tuple[str, Owner]) -> Participants:
        room_name, owner = room
        if not self._turns.enter(owner):
            try:
                await self._turns.wait(owner, self._turn_seconds)
            except TimeoutError:
                self._refused(Limit.TENANT_CALLS)
                raise Overloaded.by(Limit.TENANT_CALLS.value) from None
        try:
            return Participants(await self._source.list_participants(room_name))
        finally:
            self._turns.leave(owner)


def _tell(on_scan: OnScan, scan: Scan) -> None:
    ownerless = {reason: scan.index.count(reason) for reason in Ownerless}
    on_scan(len(scan.index) - sum(ownerless.values()), ownerless)


class UnconfiguredDirectory:
    """The directory of a service that has no LiveKit credentials: every question fails."""

    async def rooms(self, scope: Scope, consistency: Consistency) -> Sequence[ListedRoom]:
        """Raises LiveKitNotConfigured."""
        raise LiveKitNotConfigured

    async def room(self, name: str, asker: Asker) -> OwnedRoom | None:
        """Raises LiveKitNotConfigured."""
        raise LiveKitNotConfigured

    async def participants(self, room_name: str, owner: Owner) -> Participants:
        """Raises LiveKitNotConfigured."""
        raise LiveKitNotConfigured
