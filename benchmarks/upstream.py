"""Owns the LiveKit that is measured against: the real server on Redis, its rooms, and how often it is asked.

Step before: `benchmarks.run`. Step after: `tools.livekit_server`, and a Redis of its own.
"""

import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self

import aiohttp
from livekit.api import LiveKitAPI
from livekit.protocol import models
from livekit.protocol.room import CreateRoomRequest, DeleteRoomRequest

from benchmarks.layout import CREATED, Store
from benchmarks.requests import DISTINCT_ROOMS, PARTICIPANTS
from service.livekit_tokens import AccessTokens
from tests.support.redis_server import PARTICIPANTS_PREFIX, ROOMS_KEY, RedisServer
from tools.livekit_server import LiveKitServer

__all__ = ["Upstream", "record_of"]

CALLS: Final = re.compile(r"^livekit_node_twirp_request_status\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
SAMPLE_ROOM: Final = "sample"


class Upstream:
    """LiveKit on Redis, running inside `async with`. Its logs go to `folder`.

    Args:
        livekit: the server's program.
        redis: redis-server's.
        folder: an existing one.
    """

    def __init__(self, livekit: Path, redis: Path, folder: Path) -> None:
        self._livekit_binary, self._folder = livekit, folder
        self._redis = RedisServer(redis, folder)
        self._parts = AsyncExitStack()
        self._held: Store | None = None

    async def __aenter__(self) -> Self:
        """Start both. Raises ChildFailedError."""
        try:
            await self._parts.enter_async_context(self._redis)
            self.livekit = await self._parts.enter_async_context(
                LiveKitServer(
                    binary=self._livekit_binary,
                    redis_address=self._redis.address,
                    log=self._folder / "livekit.log",
                    log_level="warn",
                    metrics=True,
                )
            )
            self._session = await self._parts.enter_async_context(aiohttp.ClientSession())
            self._sample = await self._sample_record()
        except BaseException:
            await self._parts.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop both."""
        await self._parts.aclose()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name."""
        return {"livekit": self.livekit.pid, "redis": self._redis.pid}

    @property
    def address(self) -> str:
        """LiveKit's "host:port"."""
        return self.livekit.url.removeprefix("http://")

    def listing_token(self) -> str:
        """A token that may list rooms, good for ten minutes."""
        return AccessTokens(self.livekit.api_key, self.livekit.api_secret).for_listing()

    async def calls(self) -> float:
        """How many calls LiveKit has answered so far, by its own count."""
        async with self._session.get(self.livekit.metrics_url) as answer:
            return sum(map(float, CALLS.findall(await answer.text())))

    async def fill(self, store: Store) -> None:
        """Make LiveKit hold exactly this."""
        if store == self._held:
            return
        with_people = [store.name_of(number) for number in range(DISTINCT_ROOMS)]
        await self._redis.client.delete(ROOMS_KEY, *(PARTICIPANTS_PREFIX + name for name in with_people))
        await self._redis.put_rooms(self._records(store))
        people = [
            models.ParticipantInfo(
                sid=f"PA_{number:012}",
                identity=f"person-{number}",
                name=f"Person {number}",
                state=models.ParticipantInfo.ACTIVE,
                joined_at=CREATED,
            )
            for number in range(PARTICIPANTS)
        ]
        for name in with_people[: store.rooms]:
            await self._redis.put_participants(name, people)
        self._held = store

    def _records(self, store: Store) -> Iterator[models.Room]:
        for number in range(store.rooms):
            yield record_of(self._sample, store.name_of(number), number, store.owner_of(number))

    async def _sample_record(self) -> models.Room:
        """A record as this LiveKit writes it."""
        server = self.livekit
        async with LiveKitAPI(server.url, server.api_key, server.api_secret, failover=False) as api:
            await api.room.create_room(CreateRoomRequest(name=SAMPLE_ROOM))
            record = await self._redis.client.hget(ROOMS_KEY, SAMPLE_ROOM)
            assert isinstance(record, bytes)  # noqa: S101 - LiveKit has just stored it
            await api.room.delete_room(DeleteRoomRequest(room=SAMPLE_ROOM))
        return models.Room.FromString(record)


def record_of(sample: models.Room, name: str, number: int, owner: str) -> models.Room:
    """A stored room like the sample, some 330 bytes long."""
    room = models.Room()
    room.CopyFrom(sample)
    room.name, room.sid = name, f"RM_{number:012}"
    room.creation_time, room.creation_time_ms = CREATED, CREATED * 1000
    room.num_participants = PARTICIPANTS
    room.metadata = (
        f'{{"auth_id":"{owner}","title":"Weekly planning","created_by":"person-{number % 5_000:04}",'
        f'"language":"en","recorded":false}}'
    )
    return room
