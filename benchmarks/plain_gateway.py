"""The yardstick "plain": the same two routes, as anyone would write them first. It is no part of TenantRooms.

aiohttp serves, livekit-api asks LiveKit on every request, `json.loads` finds the owner. It has no limits, no
hardening and no second look at a room. Reads LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET, PORT and
SECRETS (a JSON object, token to tenant) from the environment.
"""

import json
import os
import sys
from collections.abc import Mapping

import uvloop
from aiohttp import web
from livekit.api import LiveKitAPI
from livekit.protocol import models
from livekit.protocol.room import ListParticipantsRequest, ListRoomsRequest

__all__ = ["main"]


class Gateway:
    """The two routes."""

    def __init__(self, api: LiveKitAPI, tenants: Mapping[str, str]) -> None:
        self._api, self._tenants = api, tenants

    async def list_rooms(self, request: web.Request) -> web.Response:
        """All rooms of the caller, sorted by name."""
        tenant = self._tenant(request)
        answer = await self._api.room.list_rooms(ListRoomsRequest())
        own = sorted((room for room in answer.rooms if _owner(room) == tenant), key=lambda room: room.name)
        return web.json_response({"rooms": [_summary(room) for room in own]})

    async def room_details(self, request: web.Request) -> web.Response:
        """One room of the caller, with its participants."""
        tenant, name = self._tenant(request), request.match_info["name"]
        answer = await self._api.room.list_rooms(ListRoomsRequest(names=[name]))
        if not answer.rooms or _owner(answer.rooms[0]) != tenant:
            return web.json_response({"error": "Room not found or not accessible"}, status=404)
        room = answer.rooms[0]
        people = await self._api.room.list_participants(ListParticipantsRequest(room=name))
        return web.json_response(
            {
                "sid": room.sid,
                **_summary(room),
                "max_participants": room.max_participants,
                "metadata": room.metadata,
                "active_recording": room.active_recording,
                "participants": [_participant(one) for one in people.participants],
            }
        )

    def _tenant(self, request: web.Request) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        tenant = self._tenants.get(token) if scheme == "Bearer" else None
        if tenant is None:
            raise web.HTTPUnauthorized
        return tenant


def _owner(room: models.Room) -> str | None:
    try:
        owner = json.loads(room.metadata).get("auth_id")
    except (ValueError, AttributeError):
        return None
    return owner if isinstance(owner, str) else None


def _summary(room: models.Room) -> dict[str, object]:
    return {
        "name": room.name,
        "num_participants": room.num_participants,
        "creation_time": room.creation_time,
    }


def _participant(one: models.ParticipantInfo) -> dict[str, object]:
    return {
        "sid": one.sid,
        "identity": one.identity,
        "name": one.name,
        "state": models.ParticipantInfo.State.Name(one.state),
        "kind": models.ParticipantInfo.Kind.Name(one.kind),
        "joined_at": one.joined_at,
        "metadata": one.metadata,
        "attributes": dict(one.attributes),
        "is_publisher": one.is_publisher,
    }


async def _application(environment: Mapping[str, str]) -> web.Application:
    address, key, secret = (environment[f"LIVEKIT_{name}"] for name in ("URL", "API_KEY", "API_SECRET"))
    api = LiveKitAPI(address, key, secret, failover=False)
    gateway = Gateway(api, json.loads(environment["SECRETS"]))
    application = web.Application()
    application.router.add_get("/livekit/rooms", gateway.list_rooms)
    application.router.add_get("/livekit/rooms/{name}", gateway.room_details)

    async def close(_: web.Application) -> None:
        await api.aclose()

    application.on_cleanup.append(close)
    return application


def main() -> int:
    """Serve until told to stop."""
    uvloop.install()
    port = int(os.environ["PORT"])
    web.run_app(_application(os.environ), host="127.0.0.1", port=port, access_log=None, print=None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
