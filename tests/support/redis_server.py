"""A Redis server for tests, and the place in it where LiveKit keeps its rooms.

With Redis behind it, LiveKit reads its `rooms` hash anew on each call, so filling that hash is the cheap way
to very many rooms. LiveKit lists such rooms, and their participants from `room_participants:NAME`; it has no
session for them, so changing one over LiveKit's API fails, and CreateRoom takes one over, metadata and all.
"""

import os
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from livekit.protocol import models
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tools.child_process import ChildProcess, basic_environment
from tools.ports import free_tcp_port

START_SECONDS = 10.0
HOW_TO_INSTALL = (
    "there is no redis-server on PATH: install it to run this test (Debian and Ubuntu: apt-get install "
    "redis-server)"
)
ROOMS_AT_ONCE = 5_000
ROOMS_KEY = "rooms"
PARTICIPANTS_PREFIX = "room_participants:"


def redis_binary() -> Path | None:
    """The redis-server on PATH."""
    found = shutil.which("redis-server")
    return None if found is None else Path(found)


class RedisServer:
    """A Redis server on the loopback address, running inside `async with`.

    Args:
        binary: as `redis_binary` finds it.
        folder: an empty one, for its log.
        lasting: keeps what it holds over a restart; else it is in memory only.
    """

    def __init__(self, binary: Path, folder: Path, *, lasting: bool = False) -> None:
        self._port = free_tcp_port()
        command: list[str | Path] = [
            binary,
            *("--port", str(self._port), "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "yes" if lasting else "no", "--appendfsync", "always"),
            *("--dir", folder),
        ]
        self._child = ChildProcess(
            "Redis", command, env=basic_environment(os.environ), log=folder / "redis.log", cwd=folder
        )
        # Binary keys and values: rooms are stored encoded.
        self.client: Redis = Redis(host="127.0.0.1", port=self._port)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.stop()

    @property
    def address(self) -> str:
        """127.0.0.1:PORT, as LiveKit's configuration wants it."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    async def start(self) -> None:
        """Starts Redis, after `stop` on the same port as before; waits until it answers."""
        await self._child.start()
        await self._child.wait_ready(self._answers, START_SECONDS)

    async def stop(self) -> None:
        """Stops Redis; all that it held is gone, unless it is lasting."""
        await self._child.stop()

    async def put_rooms(self, rooms: Iterable[models.Room]) -> None:
        """Stores rooms where LiveKit lists them from."""
        chunk: dict[str, bytes] = {}
        for room in rooms:
            chunk[room.name] = room.SerializeToString()
            if len(chunk) == ROOMS_AT_ONCE:
                await self._store(ROOMS_KEY, chunk)
                chunk = {}
        await self._store(ROOMS_KEY, chunk)

    async def put_participants(self, room: str, participants: Iterable[models.ParticipantInfo]) -> None:
        """Stores participants where LiveKit lists those of a room from."""
        stored = {one.identity: one.SerializeToString() for one in participants}
        await self._store(PARTICIPANTS_PREFIX + room, stored)

    async def replace_room(self, room: models.Room, participants: Iterable[models.ParticipantInfo]) -> None:
        """Puts a room with its participants in the place of any room of that name, all at one moment."""
        stored = [part for one in participants for part in (one.identity, one.SerializeToString())]
        async with self.client.pipeline(transaction=True) as together:
            together.hset(ROOMS_KEY, room.name, room.SerializeToString())
            together.delete(PARTICIPANTS_PREFIX + room.name)
            if stored:
                together.hset(PARTICIPANTS_PREFIX + room.name, items=stored)
            await together.execute()

    async def remove_rooms(self, names: Iterable[str]) -> None:
        """Removes rooms that `put_rooms` stored, with their participants."""
        gone = list(names)
        for first in range(0, len(gone), ROOMS_AT_ONCE):
            some = gone[first : first + ROOMS_AT_ONCE]
            await self.client.hdel(ROOMS_KEY, *some)
            await self.client.delete(*(PARTICIPANTS_PREFIX + name for name in some))

    @asynccontextmanager
    async def rooms(self, rooms: Iterable[models.Room]) -> AsyncIterator[None]:
        """Rooms for the time of a block, stored where LiveKit lists them from."""
        stored = list(rooms)
        try:
            await self.put_rooms(stored)
            yield
        finally:
            await self.remove_rooms(room.name for room in stored)

    async def _store(self, key: str, fields: Mapping[str, bytes]) -> None:
        if fields:
            await self.client.hset(key, items=[part for field in fields.items() for part in field])

    async def _answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except RedisConnectionError:
            return False
