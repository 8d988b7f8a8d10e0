"""The LiveKits that the contract suite runs against: the double and the real server, with either store."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from livekit.protocol import models

from tests.support.livekit_double import LiveKitDouble
from tests.support.real_livekit import reported
from tests.support.twirp import LiveKitAddress, TwirpCaller

# By each one's fixture.
SERVERS = {
    "double": "livekit_double",
    "double_like_redis": "livekit_double_like_redis",
    "real": "livekit_server",
    "real_on_redis": "livekit_server_on_redis",
}


class LiveKit(TwirpCaller):
    """A plain caller of one LiveKit, which removes the rooms that it made."""

    def __init__(
        self, session: aiohttp.ClientSession, livekit: LiveKitAddress, stores_in_redis: bool
    ) -> None:
        super().__init__(session, livekit)
        self.stores_in_redis = stores_in_redis
        self._made: set[str] = set()

    async def create_room(self, name: str, **fields: Any) -> models.Room:
        """A new room, or the one of that name."""
        self._made.add(name)
        return await super().create_room(name, **fields)

    async def update_metadata(self, room: str, metadata: str) -> models.Room:
        """Changes a room's metadata, and waits until lists show it.

        The real server answers when the room's session has changed, milliseconds before its store has.
        """
        answered = await super().update_metadata(room, metadata)

        async def look() -> bool | None:
            return True if [one.metadata for one in await self.list_rooms(room)] == [metadata] else None

        await reported(look, f"the new metadata of {room!r}")
        return answered

    async def remove_made_rooms(self) -> None:
        """Removes whatever `create_room` made and is still there."""
        for name in self._made:
            if await self.list_rooms(name):
                await self.delete_room(name)


@pytest.fixture
async def livekit_double_like_redis() -> AsyncIterator[LiveKitDouble]:
    async with LiveKitDouble(store="redis") as double:
        yield double


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> tuple[LiveKitAddress, bool]:
    """Each server in turn, and whether it answers like Redis."""
    return request.getfixturevalue(SERVERS[request.param]), request.param.endswith("redis")


@pytest.fixture
async def livekit(
    server: tuple[LiveKitAddress, bool], http_session: aiohttp.ClientSession
) -> AsyncIterator[LiveKit]:
    """A caller of each server in turn."""
    caller = LiveKit(http_session, *server)
    yield caller
    await caller.remove_made_rooms()
