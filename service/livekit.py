"""Owns what TenantRooms asks LiveKit: the two RoomService calls over Twirp, and what their failures mean.

Step before: `service.directory` decides what to ask. Step after: `service.livekit_retry` sends the bytes,
twice if need be. What comes back is LiveKit's own messages; who may see them is decided elsewhere.
"""

import json
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Protocol

from google.protobuf.message import DecodeError, Message
from livekit.protocol.models import ParticipantInfo
from livekit.protocol.room import (
    ListParticipantsRequest,
    ListParticipantsResponse,
    ListRoomsRequest,
)

from service.errors import (
    LiveKitClockOff,
    LiveKitFailed,
    LiveKitRecordCorrupt,
    LiveKitRefused,
    LiveKitUnavailable,
    RoomNotFound,
)
from service.livekit_tokens import AccessTokens
from service.room_records import room_records

# What a proxy in front of LiveKit says when LiveKit is away, and what LiveKit says when its store is.
_AWAY: Final = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
# Well over what a second's resolution and the way of an answer can make.
_CLOCKS_APART_SECONDS: Final = 20
# In LiveKit's reasons for a 401.
_OUT_OF_DATE: Final = (b"token is expired", b"token is not valid yet")
_UNKNOWN_KEY: Final = b"invalid API key"
# LiveKit's words for a record of its own store that it cannot read or pass on. Errors of Go's protobuf begin
# like the first, with a space or, by the build, a no-break space behind it. (Our request would be a 400.)
_CORRUPT: Final = ("proto:", "string field contains invalid UTF-8")
_LOGGED_CHARACTERS: Final = 200
_WHERE_TO_LOOK: Final = {
    "ListRooms": "LiveKit cannot read a room in its own store; lists fail until it is gone: look for it in "
    "LiveKit's Redis (the hash `rooms`), and at what wrote it",
    "ListParticipants": "LiveKit cannot read a participant in its own store: look for it in LiveKit's Redis "
    "(the hash `room_participants:` and the room's name), and at what wrote it",
}
# Nothing that a person would read. Whoever answers may quote our token, in an encoding of its own choice.
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/_=%-]{24,}")
# More than any Twirp error has, and little enough to be parsed at once.
_ERROR_BYTES_READ: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class TwirpAnswer:
    """What came back over HTTP: the status, the bare media type in lower case, and the whole body.

    Attributes:
        date: the header of a refusal (401); empty where there is none.
    """

    status: int
    media_type: str
    body: bytes
    date: str = ""


class TwirpTransport(Protocol):
    """Carries one Twirp call."""

    async def post(self, method: str, token: str, body: bytes) -> TwirpAnswer:
        """POSTs a protobuf body to `/twirp/livekit.RoomService/<method>` and reads the whole answer.

        Raises:
            LiveKitUnavailable: no connection.
            LiveKitTimedOut: no whole answer in time.
            LiveKitFailed: the answer broke off, is encoded, or is over the size cap.
        """
        ...


class LiveKit:
    """LiveKit's RoomService, as far as TenantRooms needs it.

    Args:
        transport: carries the calls; whoever opened it closes it.
        tokens: signs what LiveKit asks to see.
    """

    def __init__(self, transport: TwirpTransport, tokens: AccessTokens) -> None:
        self._transport = transport
        self._tokens = tokens

    async def list_all_rooms(self) -> Sequence[bytes]:
        """The record of every room of the deployment, in no order: the bytes of one `livekit.Room` each.

        Raises:
            LiveKitUnavailable, LiveKitFailed: as the transport, or LiveKit answered with an error.
        """
        return await self._list_rooms(ListRoomsRequest())

    async def list_rooms_named(self, names: Collection[str]) -> Sequence[bytes]:
        """The records of those of the named rooms that exist, in no order; others may be among them.

        Raises:
            ValueError: no names were given, which LiveKit would take to mean all rooms.
            LiveKitUnavailable, LiveKitFailed: as `list_all_rooms`.
        """
        if not names:
            raise ValueError("an empty list of names means every room to LiveKit")
        return await self._list_rooms(ListRoomsRequest(names=dict.fromkeys(names)))

    async def list_participants(self, room_name: str) -> list[ParticipantInfo]:
        """Who is in this room; an empty list also where there is no such room.

        Raises:
            RoomNotFound: LiveKit says that there is no such room.
            LiveKitUnavailable, LiveKitFailed: as `list_all_rooms`.
        """
        body = await self._call(
            "ListParticipants", self._tokens.for_room(room_name), ListParticipantsRequest(room=room_name)
        )
        try:
            return list(ListParticipantsResponse.FromString(body).participants)
        except DecodeError as error:
            raise LiveKitFailed(
                f"ListParticipants: {len(body)} bytes that are no ListParticipantsResponse"
            ) from error

    async def _list_rooms(self, request: ListRoomsRequest) -> Sequence[bytes]:
        return room_records(await self._call("ListRooms", self._tokens.for_listing(), request))

    async def _call(self, method: str, token: str, request: Message) -> bytes:
        answer = await self._transport.post(method, token, request.SerializeToString())
        if answer.status != HTTPStatus.OK:
            raise _failure(method, answer)
        if answer.media_type != "application/protobuf":
            raise LiveKitFailed(f"{method}: answered with {_quoted(answer.media_type)} instead of protobuf")
        return answer.body


def _failure(method: str, answer: TwirpAnswer) -> Exception:
    """The domain error for an answer that is not 200. Its text is for the log."""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return _refusal(method, answer)
    code, message = _twirp_error(answer.body[:_ERROR_BYTES_READ].decode("utf-8", "replace"))
    what = f"{method}: HTTP {answer.status}, {_quoted(f'{code}: {message}')}"
    if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR and message.startswith(_CORRUPT):
        return LiveKitRecordCorrupt(f"{what}: {_WHERE_TO_LOOK[method]}")
    if code == "not_found" and answer.status == HTTPStatus.NOT_FOUND and method == "ListParticipants":
        return RoomNotFound(what)
    return LiveKitUnavailable(what) if answer.status in _AWAY else LiveKitFailed(what)


def _refusal(method: str, answer: TwirpAnswer) -> LiveKitRefused:
    """What to do about a 401. LiveKit's own text quotes the key and the token, so it is left out."""
    said = answer.body[:_ERROR_BYTES_READ]
    try:
        ahead = parsedate_to_datetime(answer.date).timestamp() - time.time()
    except (ValueError, TypeError):
        ahead = 0.0
    if abs(ahead) > _CLOCKS_APART_SECONDS:
        return LiveKitClockOff(
            f"{method}: HTTP 401; LiveKit refused our token, and its clock is {ahead:+.0f} s from ours: "
            "set both clocks (NTP); tokens are valid for ten minutes only"
        )
    if any(word in said for word in _OUT_OF_DATE):
        return LiveKitClockOff(
            f"{method}: HTTP 401; LiveKit finds our tokens out of date: set both clocks (NTP)"
        )
    if _UNKNOWN_KEY in said:
        return LiveKitRefused(
            f"{method}: HTTP 401; LiveKit does not know our API key: set LIVEKIT_API_KEY to one of "
            "LiveKit's own keys"
        )
    return LiveKitRefused(
        f"{method}: HTTP 401; LiveKit refused our API key: compare LIVEKIT_API_KEY and "
        "LIVEKIT_API_SECRET with LiveKit's own keys, and both clocks with each other"
    )


def _quoted(said: str) -> str:
    """What LiveKit, or whoever answers in its place, said, as the log may have it."""
    return repr(_LONG_RUN.sub("[...]", said)[:_LOGGED_CHARACTERS])


def _twirp_error(body: str) -> tuple[str, str]:
    """Code and message of a Twirp error; plain text and anything else give the code `not_twirp`."""
    try:
        error = json.loads(body)
        return str(error["code"]), str(error.get("msg", ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "not_twirp", body
