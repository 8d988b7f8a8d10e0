"""The demo's rooms, made through LiveKit's own API, and a real participant in one of them."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from livekit import api, rtc

__all__ = ["GUEST_ROOM", "Guest", "LiveKitAccess", "make_rooms"]

ROOMS: Final = (
    (("reception", "Reception"), ("weekly-sync", "Weekly sync"), ("interview 24/7", "Interview")),
    (("support-desk", "Support desk"), ("launch-review", "Launch review")),
)
"""Name and title of the rooms of the first and of the second tenant. Names are theirs to choose."""

OWNERLESS_ROOM: Final = "lobby"
GUEST_ROOM: Final = ROOMS[0][0][0]
LEAVE_SECONDS: Final = 3
COUNT_SECONDS: Final = 8
KEPT_SECONDS: Final = 7 * 24 * 3600
"""How long the rooms stay without participants."""


@dataclass(frozen=True)
class LiveKitAccess:
    """A LiveKit server and a key for it."""

    url: str
    key: str
    secret: str = field(repr=False)

    def api(self) -> api.LiveKitAPI:
        """Its server API, as an async context manager."""
        return api.LiveKitAPI(self.url, self.key, self.secret)


async def make_rooms(access: LiveKitAccess, tenants: Sequence[str]) -> None:
    """Make rooms for up to two tenants, and one without an owner."""
    async with access.api() as livekit:
        for tenant, rooms in zip(tenants, ROOMS, strict=False):
            for name, title in rooms:
                metadata = {"auth_id": tenant, "title": title, "language": "en"}
                await _make(livekit, name, metadata)
        await _make(livekit, OWNERLESS_ROOM, {"title": "Nobody's lobby"})


async def _make(livekit: api.LiveKitAPI, name: str, metadata: dict[str, str]) -> None:
    await livekit.room.create_room(
        api.CreateRoomRequest(name=name, metadata=json.dumps(metadata), empty_timeout=KEPT_SECONDS)
    )


class Guest:
    """A participant of GUEST_ROOM, connected inside `async with`."""

    def __init__(self, access: LiveKitAccess) -> None:
        self._access = access
        self._token = (
            api.AccessToken(access.key, access.secret)
            .with_identity("visitor-1")
            .with_name("First visitor")
            .with_metadata(json.dumps({"via": "web"}))
            .with_attributes({"language": "en"})
            .with_grants(api.VideoGrants(room_join=True, room=GUEST_ROOM))
            .to_jwt()
        )
        self._room = rtc.Room()
        self.joined = False

    async def __aenter__(self) -> Self:
        """Join, with the media connection up; `joined` stays False where that cannot be done."""
        # WebRTC does not use loopback, so a machine without any network has no media connection.
        with contextlib.suppress(rtc.ConnectError):
            await self._room.connect(self._access.url, self._token)
            self.joined = True
        return self

    async def wait_counted(self) -> None:
        """Wait until LiveKit's own count has the guest, which takes it some seconds; not for long."""
        request = api.ListRoomsRequest(names=[GUEST_ROOM])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COUNT_SECONDS), self._access.api() as livekit:
                # LiveKit has no event for this that would reach us.
                while not (await livekit.room.list_rooms(request)).rooms[0].num_participants:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

    async def __aexit__(self, *_: object) -> None:
        """Leave, or give up soon: the server forgets those who are gone."""
        if not self.joined:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._room.disconnect()
