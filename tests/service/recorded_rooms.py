"""Rooms, and a LiveKit in memory: it records what it is asked, and its rooms can change in between."""

import json
from collections.abc import Callable, Collection, Iterable

from livekit.protocol.models import ParticipantInfo, Room

from service.directory import Directory
from service.ownership import owner_of
from service.room_index import ListedRoom
from service.servicer import room_summary


def room(name: str, owner: str | None = None, *, sid: str = "RM_1", **fields: object) -> Room:
    """A room of this owner; None is nobody."""
    metadata = "" if owner is None else json.dumps({"auth_id": owner})
    return Room(**{"name": name, "sid": sid, "metadata": metadata, **fields})  # type: ignore[arg-type]


def rooms_in(records: Iterable[bytes]) -> list[Room]:
    """The rooms of these records."""
    return [Room.FromString(record) for record in records]


def listed(room: Room) -> ListedRoom:
    """This room as a whole reading has it."""
    return ListedRoom(room.SerializeToString(), owner_of, room_summary)


class AtOnce:
    """Lets masked answers leave without a wait, and counts them: `service.rooms.MaskedAnswers`."""

    def __init__(self) -> None:
        self.left = 0

    async def leave(self, began: float) -> None:
        self.left += 1


class RecordedLiveKit:
    """A `service.directory.RoomSource` that holds rooms, and remembers each question in `asked`."""

    def __init__(self, *rooms: Room) -> None:
        self.rooms = {room.name: room for room in rooms}
        self.participants: dict[str, list[ParticipantInfo]] = {}
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.after_participants: Callable[[], object] = lambda: None
        self.failures: dict[int, Exception] = {}
        """By the number of the question, from 1."""

    @property
    def directory(self) -> Directory:
        """A directory that asks here."""
        return Directory(self, owner_of, room_summary, index_interval=1)

    def put(self, room: Room) -> None:
        """Makes or replaces a room."""
        self.rooms[room.name] = room

    async def list_all_rooms(self) -> list[bytes]:
        self._ask("all rooms")
        return [room.SerializeToString() for room in self.rooms.values()]

    async def list_rooms_named(self, names: Collection[str]) -> list[bytes]:
        self._ask("rooms", *names)
        return [self.rooms[name].SerializeToString() for name in names if name in self.rooms]

    async def list_participants(self, room_name: str) -> list[ParticipantInfo]:
        self._ask("participants", room_name)
        found = self.participants.get(room_name, [])
        self.after_participants()
        return found

    def _ask(self, question: str, *about: str) -> None:
        self.asked.append((question, about))
        if failure := self.failures.get(len(self.asked)):
            raise failure
