"""Which rooms there are under load, what is asked about them, and what each answer is worth."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from livekit.protocol import models

from tests.end_to_end.callers import ACME, GLOBEX
from tests.support.redis_server import RedisServer

SECRET_OF = {"acme": ACME, "globex": GLOBEX}
MASKED = {"error": "Room not found or not accessible"}
LISTS = "/livekit/rooms"
FAULTS = {LISTS: {"error": "Failed to list rooms"}}
FAULT_OF_DETAILS = {"error": "Failed to get room details"}
REFUSALS = {
    503: [{"error": "Service unavailable"}],
    429: [{"error": "Service overloaded"}, {"error": "Too many requests"}],
}


class Verdict(Enum):
    """What an answer is worth."""

    RIGHT = "right"
    REFUSED = "refused"
    """One of the constant answers that say that there is none."""
    WRONG = "wrong"


@dataclass(frozen=True)
class Question:
    """A GET, and the only answer to it that is right."""

    path: str
    token: str
    status: int
    expected: Any

    def verdict(self, status: int, body: bytes) -> Verdict:
        """What this answer is worth."""
        if (status, body) == self._known_right.get("answer"):
            return Verdict.RIGHT
        try:
            said = json.loads(body)
        except ValueError:
            return Verdict.WRONG
        if status == self.status and _comparable(said) == self.expected:
            self._known_right["answer"] = (status, body)
            return Verdict.RIGHT
        faults = FAULTS.get(self.path, FAULT_OF_DETAILS)
        if (status == 500 and said == faults) or said in REFUSALS.get(status, ()):
            return Verdict.REFUSED
        return Verdict.WRONG

    @cached_property
    def _known_right(self) -> dict[str, tuple[int, bytes]]:
        # To parse each of many thousand equal answers would cost more than to give them.
        return {}


def _comparable(said: Any) -> Any:
    """What must be as expected: the rooms of a list, name and people of a room, all of an error."""
    if "rooms" in said:
        return [room["name"] for room in said["rooms"]]
    if "participants" in said:
        return said["name"], sorted(person["identity"] for person in said["participants"])
    return said


@dataclass(frozen=True)
class Rooms:
    """Rooms of two tenants and of nobody, with people in some of them."""

    rooms: list[models.Room]
    people: dict[str, list[models.ParticipantInfo]]
    secrets: Mapping[str, str]

    def questions(self) -> list[Question]:
        """Lists, own rooms with somebody in them, foreign and absent ones, in turn for both tenants."""
        asked = []
        for tenant, token in self.secrets.items():
            own = sorted(room.name for room in self.rooms if _owner(room) == tenant)
            inhabited = [name for name in own if name in self.people]
            foreign = next(room.name for room in self.rooms if _owner(room) not in (tenant, None))
            for name in inhabited:
                details = name, sorted(person.identity for person in self.people[name])
                asked += [
                    Question(LISTS, token, 200, own),
                    Question(f"{LISTS}/{name}", token, 200, details),
                    Question(f"{LISTS}/{foreign}", token, 404, MASKED),
                    Question(f"{LISTS}/absent", token, 404, MASKED),
                ]
        return asked


def made(
    count: int, *, metadata_bytes: int = 0, inhabited: int = 4, secrets: Mapping[str, str] = SECRET_OF
) -> Rooms:
    """So many rooms, nine of ten in turn of each tenant, the tenth nobody's.

    Args:
        metadata_bytes: the least length of each room's metadata.
        inhabited: how many rooms of each tenant have two people in them.
        secrets: of the tenants, by their ids.
    """
    rooms = [_room(number, metadata_bytes, list(secrets)) for number in range(count)]
    people = {
        room.name: [_person(room.name, place) for place in range(2)]
        for tenant in secrets
        for room in [room for room in rooms if _owner(room) == tenant][:inhabited]
    }
    for room in rooms:
        room.num_participants = len(people.get(room.name, ()))
    return Rooms(rooms, people, secrets)


def _room(number: int, metadata_bytes: int, tenants: Sequence[str]) -> models.Room:
    owner = None if number % 10 == 9 else tenants[number % len(tenants)]
    metadata = {"auth_id": owner} if owner else {"topic": "anything"}
    padding = " " * max(0, metadata_bytes - len(json.dumps(metadata)))
    return models.Room(
        sid=f"RM_load{number:06}",
        name=f"load-{number:06}",
        creation_time=1_790_000_000 + number,
        metadata=json.dumps(metadata) + padding,
    )


def _person(room: str, place: int) -> models.ParticipantInfo:
    active = models.ParticipantInfo.State.ACTIVE
    return models.ParticipantInfo(sid=f"PA_{room}_{place}", identity=f"{room} person {place}", state=active)


def _owner(room: models.Room) -> str | None:
    owner: str | None = json.loads(room.metadata).get("auth_id")
    return owner


@asynccontextmanager
async def stored(redis: RedisServer, rooms: Rooms) -> AsyncIterator[None]:
    """These rooms with their people, for the time of a block, in LiveKit's Redis."""
    async with redis.rooms(rooms.rooms):
        for room, people in rooms.people.items():
            await redis.put_participants(room, people)
        yield
