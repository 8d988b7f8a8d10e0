"""A LiveKit in memory whose readings a test lands one by one, each with the state at which it began."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from livekit.protocol.models import ParticipantInfo, Room


@dataclass
class Reading:
    """One reading: what was asked, and when a test lets it answer."""

    question: str
    about: tuple[str, ...]
    landed: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    aborted: bool = False

    def land(self, failure: Exception | None = None) -> None:
        """Lets it answer, or fail."""
        if not self.landed.done():
            self.landed.set_exception(failure) if failure else self.landed.set_result(None)


class HeldLiveKit:
    """A `service.directory.RoomSource` that takes its answer when a reading begins, as the worst case."""

    def __init__(self, *rooms: Room) -> None:
        self.rooms = {room.name: room for room in rooms}
        self.participants: dict[str, list[ParticipantInfo]] = {}
        self.readings: list[Reading] = []
        self._changed = asyncio.Event()

    async def list_all_rooms(self) -> Sequence[bytes]:
        records = [room.SerializeToString() for room in self.rooms.values()]
        await self._read("all rooms", ())
        return records

    async def list_rooms_named(self, names: Collection[str]) -> Sequence[bytes]:
        assert names, "which would mean all rooms"
        records = [self.rooms[name].SerializeToString() for name in names if name in self.rooms]
        await self._read("rooms", tuple(names))
        return records

    async def list_participants(self, room_name: str) -> Sequence[ParticipantInfo]:
        found = list(self.participants.get(room_name, ()))
        await self._read("participants", (room_name,))
        return found

    async def until(self, count: int) -> Reading:
        """The reading of this number, from 1, once it has begun."""
        async with asyncio.timeout(10):
            while len(self.readings) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.readings[count - 1]

    async def until_aborted(self, reading: Reading) -> None:
        """Waits until nobody wants this reading any more."""
        async with asyncio.timeout(10):
            while not reading.aborted:
                self._changed.clear()
                await self._changed.wait()

    async def _read(self, question: str, about: tuple[str, ...]) -> None:
        reading = Reading(question, about)
        self.readings.append(reading)
        self._changed.set()
        try:
            await reading.landed
        except asyncio.CancelledError:
            reading.aborted = True
            self._changed.set()
            raise
