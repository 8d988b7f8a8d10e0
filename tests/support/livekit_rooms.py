"""The rooms and participants that the LiveKit double holds.

`livekit_double` puts HTTP in front of this store. A room is kept as the bytes that its entry takes up in a
`ListRoomsResponse`, so a list of 100,000 rooms is one join of bytes, done once until something changes.
"""

import random
import string
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from livekit.protocol import models
from livekit.protocol.room import ListParticipantsResponse, ListRoomsResponse

StoreKind = Literal["memory", "redis"]

_CODECS = (
    *("audio/PCMU", "audio/PCMA", "audio/opus", "audio/red"),
    *("video/VP8", "video/H264", "video/VP9", "video/AV1", "video/H265", "video/rtx"),
)
# LiveKit leaves these out of `num_participants`.
_UNCOUNTED_KINDS = (models.ParticipantInfo.Kind.AGENT, models.ParticipantInfo.Kind.EGRESS)


class RoomStore:
    """Rooms by name, and each room's participants by identity.

    Args:
        kind: whose answer to a list by names is copied. LiveKit's own memory gives each room once, in any
            order; Redis gives them in the order of the names, and again for each repetition of a name.
        seed: of the random order, the ids and the TURN passwords.
    """

    def __init__(self, kind: StoreKind = "memory", seed: int = 0) -> None:
        self._kind = kind
        self._random = random.Random(seed)  # noqa: S311 (repeatable on purpose; nothing is kept secret with it)
        self._entries: dict[str, bytes] = {}
        self._participants: dict[str, dict[str, models.ParticipantInfo]] = {}
        self._whole: tuple[bytes, list[int]] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def new_room(
        self,
        name: str,
        metadata: str,
        *,
        sid: str | None = None,
        creation_time: int | None = None,
        turn_password: str | None = None,
    ) -> models.Room:
        """A room with all that a fresh room of the real server has; it is not stored yet."""
        milliseconds = time.time_ns() // 1_000_000 if creation_time is None else creation_time * 1000
        return models.Room(
            sid=self._new_id("RM_", 12) if sid is None else sid,
            name=name,
            empty_timeout=300,
            departure_timeout=20,
            creation_time=milliseconds // 1000,
            creation_time_ms=milliseconds,
            turn_password=self._new_id("", 43) if turn_password is None else turn_password,
            enabled_codecs=[models.Codec(mime=mime) for mime in _CODECS],
            metadata=metadata,
        )

    def new_participant(
        self, identity: str, joined_at: int | None, fields: Mapping[str, Any]
    ) -> models.ParticipantInfo:
        """A participant who joined then, or just now, with these further fields; not stored yet."""
        milliseconds = time.time_ns() // 1_000_000 if joined_at is None else joined_at * 1000
        return models.ParticipantInfo(
            sid=self._new_id("PA_", 12),
            identity=identity,
            joined_at=milliseconds // 1000,
            joined_at_ms=milliseconds,
            **fields,
        )

    def put(self, room: models.Room) -> None:
        """Stores a room under its name, in the place of any room of that name; participants stay."""
        self._entries[room.name] = ListRoomsResponse(rooms=[room]).SerializeToString()
        self._whole = None

    def put_all(self, rooms: Iterable[models.Room]) -> None:
        """Stores many rooms."""
        for room in rooms:
            self.put(room)

    def get(self, name: str) -> models.Room:
        """The room of that name. Raises KeyError."""
        return ListRoomsResponse.FromString(self._entries[name]).rooms[0]

    def remove(self, name: str) -> None:
        """Drops a room with its participants. Raises KeyError."""
        del self._entries[name]
        self._participants.pop(name, None)
        self._whole = None

    def clear_participants(self, name: str) -> None:
        """Drops the participants of a room, if there are any."""
        self._participants.pop(name, None)

    def put_participant(self, name: str, participant: models.ParticipantInfo) -> None:
        """Stores a participant and counts it in its room. Raises KeyError when there is no such room."""
        room = self.get(name)
        self._participants.setdefault(name, {})[participant.identity] = participant
        self._recount(room)

    def get_participant(self, name: str, identity: str) -> models.ParticipantInfo:
        """Raises KeyError."""
        return self._participants[name][identity]

    def remove_participant(self, name: str, identity: str) -> None:
        """Raises KeyError."""
        del self._participants[name][identity]
        self._recount(self.get(name))

    def list_rooms(self, names: list[str]) -> bytes:
        """An encoded `ListRoomsResponse`; an empty `names` means every room."""
        if not names:
            return self._every_room()
        if self._kind == "redis":
            return b"".join(self._entries[name] for name in names if name in self._entries)
        found = [name for name in dict.fromkeys(names) if name in self._entries]
        self._random.shuffle(found)
        return b"".join(self._entries[name] for name in found)

    def list_participants(self, name: str) -> bytes:
        """An encoded `ListParticipantsResponse`, empty for an absent room."""
        participants = list(self._participants.get(name, {}).values())
        self._random.shuffle(participants)
        return ListParticipantsResponse(participants=participants).SerializeToString()

    def _every_room(self) -> bytes:
        if self._whole is None:
            entries = list(self._entries.values())
            self._random.shuffle(entries)
            starts = [0]
            for entry in entries:
                starts.append(starts[-1] + len(entry))
            self._whole = b"".join(entries), starts
        # Shuffled once and cut anew for each answer, as Go walks a map: from a random place on.
        encoded, starts = self._whole
        cut = self._random.choice(starts)
        return encoded[cut:] + encoded[:cut]

    def _recount(self, room: models.Room) -> None:
        present = self._participants.get(room.name, {}).values()
        room.num_participants = sum(one.kind not in _UNCOUNTED_KINDS for one in present)
        room.num_publishers = sum(one.is_publisher for one in present)
        self.put(room)

    def _new_id(self, prefix: str, length: int) -> str:
        return prefix + "".join(self._random.choices(string.ascii_letters + string.digits, k=length))
