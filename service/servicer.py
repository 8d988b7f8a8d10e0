"""Owns the translation between the contract's messages and the use cases. No rule lives here.

Step before: `service.authentication` has put the caller in `PRINCIPAL`, and `service.audit` records what
operators do. Step after: `service.rooms`.
"""

from typing import Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from livekit.protocol.models import ParticipantInfo, Room

from service.answer_space import space_for
from service.authentication import PRINCIPAL
from service.consistency import Consistency
from service.errors import ConsistencyInvalid
from service.named_rooms import OwnedRoom
from service.participants import Participants
from service.room_index import SortedRooms
from service.rooms import Rooms
from service.turns import Turns
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1.tenant_rooms_pb2_grpc import TenantRoomsServicer

_ROOMS_PER_STEP: Final = 250
"""Rooms that are made into messages between two looks at the clock: 1.5 ms, if none was before."""

_PARTICIPANTS_PER_MESSAGE: Final = 25
"""Participants that are encoded at once: at most 7 ms, if each is as large as LiveKit lets it be."""

_MOST_SHARED: Final = 1_000
"""Rooms of a list up to which the next caller gets the very bytes of the last, if the rooms are the same.

They take some 70 bytes a room, for as long as the rooms are known."""

_CONSISTENCIES: Final = {
    pb.CONSISTENCY_UNSPECIFIED: None,
    pb.CONSISTENCY_FULLY_CONSISTENT: Consistency.FULL,
    pb.CONSISTENCY_MINIMIZE_LATENCY: Consistency.MINIMIZE_LATENCY,
}
_STATES: Final = {
    ParticipantInfo.State.JOINING: pb.PARTICIPANT_STATE_JOINING,
    ParticipantInfo.State.JOINED: pb.PARTICIPANT_STATE_JOINED,
    ParticipantInfo.State.ACTIVE: pb.PARTICIPANT_STATE_ACTIVE,
    ParticipantInfo.State.DISCONNECTED: pb.PARTICIPANT_STATE_DISCONNECTED,
}
_KINDS: Final = {
    ParticipantInfo.Kind.STANDARD: pb.PARTICIPANT_KIND_STANDARD,
    ParticipantInfo.Kind.INGRESS: pb.PARTICIPANT_KIND_INGRESS,
    ParticipantInfo.Kind.EGRESS: pb.PARTICIPANT_KIND_EGRESS,
    ParticipantInfo.Kind.SIP: pb.PARTICIPANT_KIND_SIP,
    ParticipantInfo.Kind.AGENT: pb.PARTICIPANT_KIND_AGENT,
}


class Servicer(TenantRoomsServicer):
    """The rpcs of `tenantrooms.v1.TenantRooms`; domain errors pass through to the error boundary."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def ListRooms(  # type: ignore[override]  # encoded already, which the error boundary lets be
        self,
        request: pb.ListRoomsRequest,
        context: grpc.aio.ServicerContext[pb.ListRoomsRequest, pb.ListRoomsResponse],
    ) -> bytes:
        """One page of the caller's rooms, encoded."""
        if request.consistency not in _CONSISTENCIES:
            raise ConsistencyInvalid
        page = await self._rooms.list(
            PRINCIPAL.get(),
            request.tenant_id if request.HasField("tenant_id") else None,
            request.page_size,
            request.page_token,
            _CONSISTENCIES[request.consistency],
        )
        rooms = page.rooms
        # A part of the rooms is never one of these.
        whole = rooms if isinstance(rooms, SortedRooms) and len(rooms) <= _MOST_SHARED else None
        if whole is not None and whole.shown is not None:
            await space_for(len(whole.shown))
            return whole.shown
        turns = Turns()
        parts: list[bytes] = []
        for start in range(0, len(rooms), _ROOMS_PER_STEP):
            parts += [room.summary for room in rooms[start : start + _ROOMS_PER_STEP]]
            await turns.pass_on()
        parts.append(pb.ListRoomsResponse(next_page_token=page.next_page_token).SerializeToString())
        # Until here it is shared with other calls; only the answer takes memory of its own.
        await space_for(sum(map(len, parts)))
        answer = b"".join(parts)
        if whole is not None:
            whole.shown = answer
        return answer

    async def GetRoom(  # type: ignore[override]  # encoded already, which the error boundary lets be
        self,
        request: pb.GetRoomRequest,
        context: grpc.aio.ServicerContext[pb.GetRoomRequest, pb.GetRoomResponse],
    ) -> bytes:
        """One room with its participants, encoded."""
        details = await self._rooms.get(
            PRINCIPAL.get(),
            request.tenant_id if request.HasField("tenant_id") else None,
            request.room_name,
        )
        owned, participants = details.owned, details.participants
        await space_for(_room_size(owned) + await _size(participants))
        # Made once for all callers who share them, and gone with the last of these.
        if owned.shown is None:
            owned.shown = _room_shown(owned.room)
        return owned.shown + await _participants_shown(participants)


def room_summary(room: Room) -> bytes:
    """A `ListRoomsResponse` with this room alone, encoded: encoded messages that are joined are one."""
    response = pb.ListRoomsResponse()
    summary = response.rooms.add(name=room.name, sid=room.sid, num_participants=room.num_participants)
    _set_time(summary.creation_time, room.creation_time, room.creation_time_ms)
    return response.SerializeToString()


def _room_size(owned: OwnedRoom) -> int:
    """About how long its part of an answer is. What LiveKit said is about as long as what is made of it."""
    return owned.room.ByteSize() if owned.shown is None else len(owned.shown)


async def _size(participants: Participants) -> int:
    """The same of participants."""
    if participants.size is None:
        async with participants.at_work:
            if participants.size is None:  # else another call has just found out
                turns = Turns()
                size = 0
                for participant in participants:
                    size += participant.ByteSize()
                    await turns.pass_on()
                participants.size = size
    return participants.size


def _room_shown(room: Room) -> bytes:
    """A `GetRoomResponse` with this room alone, encoded."""
    response = pb.GetRoomResponse()
    # Field by field, so that a secret which LiveKit keeps in its own message can never slip through.
    shown = response.room
    shown.name = room.name
    shown.sid = room.sid
    shown.num_participants = room.num_participants
    shown.max_participants = room.max_participants
    _set_time(shown.creation_time, room.creation_time, room.creation_time_ms)
    shown.metadata = room.metadata
    shown.active_recording = room.active_recording
    return response.SerializeToString()


async def _participants_shown(participants: Participants) -> bytes:
    """A `GetRoomResponse` with these participants alone, encoded."""
    if participants.shown is None:
        async with participants.at_work:
            if participants.shown is None:  # else another call has just made it
                turns = Turns()
                parts: list[bytes] = []
                for start in range(0, len(participants), _PARTICIPANTS_PER_MESSAGE):
                    response = pb.GetRoomResponse()
                    for participant in participants[start : start + _PARTICIPANTS_PER_MESSAGE]:
                        _show(participant, response)
                        await turns.pass_on()
                    parts.append(response.SerializeToString())
                # Encoded messages that are joined are one.
                participants.shown = b"".join(parts)
                participants.size = len(participants.shown)
    return participants.shown


def _show(participant: ParticipantInfo, response: pb.GetRoomResponse) -> None:
    # Filled in where it is: what is given to a constructor is copied, which costs as much again.
    shown = response.participants.add(
        sid=participant.sid,
        identity=participant.identity,
        name=participant.name,
        state=_STATES.get(participant.state, pb.PARTICIPANT_STATE_UNSPECIFIED),
        kind=_KINDS.get(participant.kind, pb.PARTICIPANT_KIND_UNSPECIFIED),
        metadata=participant.metadata,
        is_publisher=participant.is_publisher,
    )
    _set_time(shown.joined_at, participant.joined_at, participant.joined_at_ms)
    if participant.attributes:
        shown.attributes.update(participant.attributes)


def _set_time(time: Timestamp, seconds: int, milliseconds: int) -> None:
    """The moment that LiveKit gives twice; the finer one counts where it agrees with the coarser."""
    whole, rest = divmod(milliseconds, 1_000)
    time.seconds = seconds
    time.nanos = rest * 1_000_000 if whole == seconds else 0
