"""LiveKit's RoomService over the double's rooms: which answer a request gets when nothing is scripted.

`livekit_double` hands requests in. The texts and the order of the checks are those of livekit-server 1.13.5.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs
from google.protobuf.message import DecodeError, Message
from livekit.protocol import models
from livekit.protocol import room as proto

from tests.support import livekit_answers as answers
from tests.support.livekit_answers import Answer
from tests.support.livekit_auth import NotGranted, Refused, accepted_grants, require
from tests.support.livekit_rooms import RoomStore

SERVICE_PATH = "/twirp/livekit.RoomService/"


@dataclass(frozen=True)
class Method:
    """The messages of one method."""

    request: type[Message]
    response: type[Message]


METHODS: Mapping[str, Method] = {
    "ListRooms": Method(proto.ListRoomsRequest, proto.ListRoomsResponse),
    "ListParticipants": Method(proto.ListParticipantsRequest, proto.ListParticipantsResponse),
    "GetParticipant": Method(proto.RoomParticipantIdentity, models.ParticipantInfo),
    "CreateRoom": Method(proto.CreateRoomRequest, models.Room),
    "DeleteRoom": Method(proto.DeleteRoomRequest, proto.DeleteRoomResponse),
    "UpdateRoomMetadata": Method(proto.UpdateRoomMetadataRequest, models.Room),
    "RemoveParticipant": Method(proto.RoomParticipantIdentity, proto.RemoveParticipantResponse),
}


class LiveKitMethods:
    """The methods over one store.

    Args:
        secrets: API key → secret.
    """

    def __init__(
        self, rooms: RoomStore, secrets: Mapping[str, str], max_name_bytes: int, max_metadata_bytes: int
    ) -> None:
        self._rooms = rooms
        self._secrets = secrets
        self._max_name_bytes, self._max_metadata_bytes = max_name_bytes, max_metadata_bytes
        self._handlers: dict[str, Callable[[Any, Mapping[str, Any]], Answer]] = {
            "ListRooms": self._list_rooms,
            "ListParticipants": self._list_participants,
            "GetParticipant": self._get_participant,
            "CreateRoom": self._create_room,
            "DeleteRoom": self._delete_room,
            "UpdateRoomMetadata": self._update_room_metadata,
            "RemoveParticipant": self._remove_participant,
        }

    def answer(self, verb: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What the real server says to this request."""
        try:
            grants = accepted_grants(headers.get(hdrs.AUTHORIZATION), self._secrets)
            if path == "/":
                return answers.plain_text(200, "OK")
            if not path.startswith(SERVICE_PATH):
                return answers.page_not_found()
            return self._call(verb, path, headers.get(hdrs.CONTENT_TYPE, ""), body, grants)
        except Refused as refusal:
            return answers.plain_text(401, str(refusal))
        except NotGranted:
            return answers.twirp_error("unauthenticated", "permissions denied")

    def _call(
        self, verb: str, path: str, content_type: str, body: bytes, grants: Mapping[str, Any]
    ) -> Answer:
        if verb != "POST":
            return answers.bad_route(verb, path, f'unsupported method "{verb}" (only POST is allowed)')
        method = path.removeprefix(SERVICE_PATH)
        if method not in METHODS:
            return answers.bad_route(verb, path, f'no handler for path "{path}"')
        if content_type.partition(";")[0].strip().lower() != answers.PROTOBUF:
            return answers.bad_route(verb, path, f'unexpected Content-Type: "{content_type}"')
        try:
            message = METHODS[method].request.FromString(body)
        except DecodeError:
            return answers.twirp_error("malformed", "the protobuf request could not be decoded")
        return self._handlers[method](message, grants)

    def _list_rooms(self, asked: proto.ListRoomsRequest, grants: Mapping[str, Any]) -> Answer:
        require(grants, "roomList")
        return answers.protobuf(self._rooms.list_rooms(list(asked.names)))

    def _list_participants(self, asked: proto.ListParticipantsRequest, grants: Mapping[str, Any]) -> Answer:
        require(grants, "roomAdmin", asked.room)
        return answers.protobuf(self._rooms.list_participants(asked.room))

    def _get_participant(self, asked: proto.RoomParticipantIdentity, grants: Mapping[str, Any]) -> Answer:
        require(grants, "roomAdmin", asked.room)
        try:
            participant = self._rooms.get_participant(asked.room, asked.identity)
        except KeyError:
            return answers.wrapped_error("not_found", "participant does not exist")
        return answers.protobuf(participant.SerializeToString())

    def _remove_participant(self, asked: proto.RoomParticipantIdentity, grants: Mapping[str, Any]) -> Answer:
        require(grants, "roomAdmin", asked.room)
        try:
            self._rooms.remove_participant(asked.room, asked.identity)
        except KeyError:
            return answers.wrapped_error("not_found", "participant does not exist")
        return answers.protobuf(b"")

    def _create_room(self, asked: proto.CreateRoomRequest, grants: Mapping[str, Any]) -> Answer:
        require(grants, "roomCreate")
        if len(asked.name.encode()) > self._max_name_bytes:
            return answers.wrapped_error(
                "invalid_argument", f"room name length exceeds limits: max length {self._max_name_bytes}"
            )
        if self._too_long(asked.metadata):
            return self._metadata_refused()
        if asked.name not in self._rooms:
            room = self._rooms.new_room(asked.name, asked.metadata)
            room.max_participants = asked.max_participants
            room.empty_timeout = asked.empty_timeout or room.empty_timeout
            room.departure_timeout = asked.departure_timeout or room.departure_timeout
            self._rooms.put(room)
        return answers.protobuf(self._rooms.get(asked.name).SerializeToString())

    def _delete_room(self, asked: proto.DeleteRoomRequest, grants: Mapping[str, Any]) -> Answer:
        require(grants, "roomCreate")
        if asked.room not in self._rooms:
            return _no_such_room()
        self._rooms.remove(asked.room)
        return answers.protobuf(b"")

    def _update_room_metadata(
        self, asked: proto.UpdateRoomMetadataRequest, grants: Mapping[str, Any]
    ) -> Answer:
        if self._too_long(asked.metadata):
            return self._metadata_refused()
        require(grants, "roomAdmin", asked.room)
        if asked.room not in self._rooms:
            return _no_such_room()
        room = self._rooms.get(asked.room)
        room.metadata = asked.metadata
        self._rooms.put(room)
        return answers.protobuf(room.SerializeToString())

    def _too_long(self, metadata: str) -> bool:
        return len(metadata.encode()) > self._max_metadata_bytes

    def _metadata_refused(self) -> Answer:
        text = "metadata size exceeds limits"
        return answers.twirp_error(
            "invalid_argument", f"{text} {self._max_metadata_bytes}", {"argument": text}
        )


def _no_such_room() -> Answer:
    return answers.wrapped_error("not_found", "requested room does not exist")
