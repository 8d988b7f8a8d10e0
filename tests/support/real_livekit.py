"""A test's view of a real LiveKit server: makes rooms through LiveKit's own API and removes them afterwards.

tests/conftest.py starts the servers (tools/livekit_server.py) once for a whole run, `participants` joins
people to the rooms.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from livekit.api import LiveKitAPI, ServerError
from livekit.protocol import models
from livekit.protocol import room as proto

from tools.livekit_server import LiveKitServer

T = TypeVar("T")

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 60.0
CALLS_AT_ONCE = 32
EMPTY_ROOM_SECONDS = 24 * 3600
"""LiveKit removes a room that nobody is in after five minutes otherwise; long tests take more."""


async def reported(look: Callable[[], Awaitable[T | None]], what: str) -> T:
    """What LiveKit reports, once `look` gives anything but None.

    LiveKit's API has no way to wait for a change, so this asks again and again. Raises TimeoutError.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := await look()) is None:  # noqa: ASYNC110 (LiveKit sends no event to wait for)
                await asyncio.sleep(POLL_SECONDS)
            return found
    except TimeoutError:
        raise TimeoutError(f"LiveKit did not report {what} within {PATIENCE_SECONDS} s") from None


class RealLiveKit:
    """A running LiveKit server, as one test uses it.

    Args:
        server: what runs; a test may stop, kill and restart it.
        api: LiveKit's own client for it.
    """

    def __init__(self, server: LiveKitServer, api: LiveKitAPI) -> None:
        self.server = server
        self._api = api
        self._made: set[str] = set()

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT."""
        return self.server.url

    @property
    def ws_url(self) -> str:
        """ws://127.0.0.1:PORT."""
        return self.server.ws_url

    @property
    def api_key(self) -> str:
        """The key that the server knows."""
        return self.server.api_key

    @property
    def api_secret(self) -> str:
        """The key's secret."""
        return self.server.api_secret

    async def create_room(
        self, name: str, *, owner: str | None = None, metadata: str = "", max_participants: int = 0
    ) -> models.Room:
        """Makes a room, and removes it when the test is over.

        Args:
            owner: becomes the metadata `{"auth_id": owner}`; not with `metadata`.
        """
        if owner is not None:
            metadata = json.dumps({"auth_id": owner})
        self._made.add(name)
        return await self._api.room.create_room(
            proto.CreateRoomRequest(
                name=name,
                metadata=metadata,
                max_participants=max_participants,
                empty_timeout=EMPTY_ROOM_SECONDS,
            )
        )

    async def create_rooms(self, names_and_owners: dict[str, str | None]) -> None:
        """Makes many rooms, some at a time."""
        gate = asyncio.Semaphore(CALLS_AT_ONCE)

        async def create(name: str, owner: str | None) -> None:
            async with gate:
                await self.create_room(name, owner=owner)

        async with asyncio.TaskGroup() as tasks:
            for name, owner in names_and_owners.items():
                tasks.create_task(create(name, owner))

    async def delete_room(self, name: str) -> None:
        """Removes a room with its participants. Raises livekit.api.ServerError when there is none."""
        await self._api.room.delete_room(proto.DeleteRoomRequest(room=name))
        self._made.discard(name)

    async def set_metadata(self, name: str, metadata: str) -> models.Room:
        """Changes the metadata of a room, and waits until lists show it.

        LiveKit answers when the room's session has changed, milliseconds before its store has.
        """
        await self._api.room.update_room_metadata(
            proto.UpdateRoomMetadataRequest(room=name, metadata=metadata)
        )
        return await self.room_until(name, lambda room: room.metadata == metadata)

    async def give_room(self, name: str, owner: str) -> models.Room:
        """Gives a room to another owner."""
        return await self.set_metadata(name, json.dumps({"auth_id": owner}))

    async def list_rooms(self, *names: str) -> list[models.Room]:
        """The rooms of these names, or all rooms of the server without any."""
        return list((await self._api.room.list_rooms(proto.ListRoomsRequest(names=names))).rooms)

    async def list_participants(self, room: str) -> list[models.ParticipantInfo]:
        """The participants of a room; none when there is no such room."""
        asked = proto.ListParticipantsRequest(room=room)
        return list((await self._api.room.list_participants(asked)).participants)

    async def room_until(self, name: str, condition: Callable[[models.Room], bool]) -> models.Room:
        """The room once LiveKit reports it so: its participant counts lag by seconds."""

        async def look() -> models.Room | None:
            return next((room for room in await self.list_rooms(name) if condition(room)), None)

        return await reported(look, f"the room {name!r} as expected")

    async def remove_made_rooms(self) -> None:
        """Removes what `create_room` made here and is still there."""
        gate = asyncio.Semaphore(CALLS_AT_ONCE)

        async def remove(name: str) -> None:
            async with gate:
                try:
                    await self.delete_room(name)
                except ServerError as error:
                    if error.code != "not_found":
                        raise

        async with asyncio.TaskGroup() as tasks:
            for name in list(self._made):
                tasks.create_task(remove(name))


@asynccontextmanager
async def using(server: LiveKitServer) -> AsyncIterator[RealLiveKit]:
    """A view of the server for one test, which removes its rooms in the end."""
    async with LiveKitAPI(server.url, server.api_key, server.api_secret, failover=False) as api:
        livekit = RealLiveKit(server, api)
        try:
            yield livekit
        finally:
            await livekit.remove_made_rooms()
