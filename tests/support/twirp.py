"""A plain Twirp caller: it sends exactly what a test tells it to and gives the bare HTTP answer back."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from google.protobuf.message import Message
from livekit.protocol import models
from livekit.protocol import room as proto
from multidict import CIMultiDict, CIMultiDictProxy

from tests.support.livekit_auth import sign_token

SERVICE_PATH = "/twirp/livekit.RoomService/"


@dataclass(frozen=True)
class TwirpAnswer:
    """A bare HTTP answer."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class LiveKitAddress(Protocol):
    """Where a LiveKit is and who may call it: the double, and the real server."""

    @property
    def url(self) -> str:
        """http://HOST:PORT."""

    @property
    def api_key(self) -> str:
        """A key that it knows."""

    @property
    def api_secret(self) -> str:
        """The key's secret."""


class TwirpCaller:
    """Calls one LiveKit, the double or a real one, over an open session."""

    def __init__(self, session: aiohttp.ClientSession, livekit: LiveKitAddress) -> None:
        self._session = session
        self._livekit = livekit

    def token(
        self,
        video: Mapping[str, object] | None,
        *,
        lives: float = 60,
        starts: float = 0,
        algorithm: str = "HS256",
        claims: Mapping[str, object] | None = None,
    ) -> str:
        """A token with these grants, signed with the server's own key; see `sign_token`."""
        return sign_token(
            self._livekit.api_key,
            self._livekit.api_secret,
            video,
            lives=lives,
            starts=starts,
            algorithm=algorithm,
            claims=claims,
        )

    async def send(
        self,
        method: str,
        message: Message | bytes = b"",
        *,
        authorization: str | None = None,
        verb: str = "POST",
        path: str | None = None,
        content_type: str | None = "application/protobuf",
        origin: str | None = None,
    ) -> TwirpAnswer:
        """One request, as it is.

        Args:
            authorization: the whole header; None sends none.
            path: instead of the method's own.
            content_type, origin: None sends none.
        """
        body = message if isinstance(message, bytes) else message.SerializeToString()
        headers = CIMultiDict[str]()
        if authorization is not None:
            headers["Authorization"] = authorization
        if content_type is not None:
            headers["Content-Type"] = content_type
        if origin is not None:
            headers["Origin"] = origin
        async with self._session.request(
            verb,
            self._livekit.url + (SERVICE_PATH + method if path is None else path),
            data=io.BytesIO(body) if len(body) > 2**20 else body,  # aiohttp warns of large plain bytes
            headers=headers,
            skip_auto_headers=["Content-Type"],
        ) as response:
            return TwirpAnswer(response.status, response.headers, await response.read())

    async def call(self, method: str, message: Message | bytes = b"", **video: object) -> TwirpAnswer:
        """One request with a token that holds these grants."""
        return await self.send(method, message, authorization=f"Bearer {self.token(video)}")

    async def list_rooms(self, *names: str) -> list[models.Room]:
        """The rooms of these names, or all."""
        answer = await self.call("ListRooms", proto.ListRoomsRequest(names=names), roomList=True)
        return list(proto.ListRoomsResponse.FromString(_body(answer)).rooms)

    async def list_participants(self, room: str) -> list[models.ParticipantInfo]:
        """The participants of a room."""
        asked = proto.ListParticipantsRequest(room=room)
        answer = await self.call("ListParticipants", asked, roomAdmin=True, room=room)
        return list(proto.ListParticipantsResponse.FromString(_body(answer)).participants)

    async def create_room(self, name: str, **fields: Any) -> models.Room:
        """A new room, or the one of that name."""
        asked = proto.CreateRoomRequest(name=name, **fields)
        return models.Room.FromString(_body(await self.call("CreateRoom", asked, roomCreate=True)))

    async def delete_room(self, name: str) -> None:
        """Removes a room."""
        _body(await self.call("DeleteRoom", proto.DeleteRoomRequest(room=name), roomCreate=True))

    async def update_metadata(self, room: str, metadata: str) -> models.Room:
        """Changes a room's metadata."""
        asked = proto.UpdateRoomMetadataRequest(room=room, metadata=metadata)
        answer = await self.call("UpdateRoomMetadata", asked, roomAdmin=True, room=room)
        return models.Room.FromString(_body(answer))


def _body(answer: TwirpAnswer) -> bytes:
    assert answer.status == 200, (answer.status, answer.body[:500])
    assert answer.headers["Content-Type"] == "application/protobuf"
    return answer.body
