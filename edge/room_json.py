"""Owns the JSON of rooms: which fields, which words, in which order. Every field is always there.

Before it: `rooms` with the service's messages. After it: the caller, by way of `rooms`.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from tenantrooms.v1 import tenant_rooms_pb2 as pb

# Existing clients break on any other word, so what is newer, or unspecified, is UNKNOWN.
State = Literal["JOINING", "JOINED", "ACTIVE", "DISCONNECTED", "UNKNOWN"]
Kind = Literal["STANDARD", "INGRESS", "EGRESS", "SIP", "AGENT", "UNKNOWN"]

_STATES: Final[Mapping[int, State]] = {
    pb.PARTICIPANT_STATE_JOINING: "JOINING",
    pb.PARTICIPANT_STATE_JOINED: "JOINED",
    pb.PARTICIPANT_STATE_ACTIVE: "ACTIVE",
    pb.PARTICIPANT_STATE_DISCONNECTED: "DISCONNECTED",
}
_KINDS: Final[Mapping[int, Kind]] = {
    pb.PARTICIPANT_KIND_STANDARD: "STANDARD",
    pb.PARTICIPANT_KIND_INGRESS: "INGRESS",
    pb.PARTICIPANT_KIND_EGRESS: "EGRESS",
    pb.PARTICIPANT_KIND_SIP: "SIP",
    pb.PARTICIPANT_KIND_AGENT: "AGENT",
}

_Name = Annotated[str, Meta(description="The room's name, exactly as LiveKit holds it.")]
_Count = Annotated[
    int,
    Meta(
        ge=0,
        description="LiveKit's own count: leaves out agents and egress, and may lag by seconds, so it may "
        "differ from the number of participants listed.",
    ),
]
_Created = Annotated[int, Meta(description="When the room was created, in Unix seconds.")]


class Health(msgspec.Struct, frozen=True):
    """The edge is up."""

    status: Literal["OK"]


class Summary(msgspec.Struct, frozen=True, gc=False):
    """What a list says of a room."""

    name: _Name
    num_participants: _Count
    creation_time: _Created


class RoomList(msgspec.Struct, frozen=True):
    """All rooms that the caller may see, sorted by name."""

    rooms: list[Summary]


class Participant(msgspec.Struct, frozen=True, gc=False):
    """One participant of a room."""

    sid: Annotated[str, Meta(description="LiveKit's id of this participant's session.")]
    identity: Annotated[str, Meta(description="Unique within the room.")]
    name: Annotated[str, Meta(description="The display name; may be empty.")]
    state: State
    kind: Kind
    joined_at: Annotated[int, Meta(description="When the participant joined, in Unix seconds.")]
    metadata: Annotated[str, Meta(description="Exactly as LiveKit holds it.")]
    attributes: dict[str, str]
    is_publisher: Annotated[bool, Meta(description="Whether a track is being published now.")]


class Details(msgspec.Struct, frozen=True):
    """One room with its participants."""

    sid: Annotated[str, Meta(description="LiveKit's id of this life of the room.")]
    name: _Name
    num_participants: _Count
    max_participants: Annotated[int, Meta(ge=0, description="0 is no limit.")]
    creation_time: _Created
    metadata: Annotated[str, Meta(description="Exactly as LiveKit holds it.")]
    active_recording: bool
    participants: list[Participant]


_encode: Final = msgspec.json.Encoder().encode


def health_json() -> bytes:
    """`{"status":"OK"}`."""
    return _encode(Health("OK"))


def summaries_json(rooms: Iterable[pb.RoomSummary]) -> bytes:
    """Some rooms of a list as JSON objects with commas between them, to be put together by `list_json`."""
    summaries = [Summary(room.name, room.num_participants, room.creation_time.seconds) for room in rooms]
    return _encode(summaries)[1:-1]


def list_json(pieces: Iterable[bytes]) -> bytes:
    """The body of a list, from what `summaries_json` gave."""
    return b'{"rooms":[%b]}' % b",".join(piece for piece in pieces if piece)


def participants_json(participants: Iterable[pb.Participant]) -> bytes:
    """Some participants as JSON objects with commas between them, to be put together by `details_json`."""
    return _encode([_participant(participant) for participant in participants])[1:-1]


def details_json(room: pb.Room, pieces: Iterable[bytes]) -> bytes:
    """The body of a room's details, with the participants from what `participants_json` gave."""
    alone = _encode(
        Details(
            sid=room.sid,
            name=room.name,
            num_participants=room.num_participants,
            max_participants=room.max_participants,
            creation_time=room.creation_time.seconds,
            metadata=room.metadata,
            active_recording=room.active_recording,
            participants=[],
        )
    )
    return b"%b%b]}" % (alone.removesuffix(b"]}"), b",".join(pieces))


def _participant(participant: pb.Participant) -> Participant:
    return Participant(
        sid=participant.sid,
        identity=participant.identity,
        name=participant.name,
        state=_STATES.get(participant.state, "UNKNOWN"),
        kind=_KINDS.get(participant.kind, "UNKNOWN"),
        joined_at=participant.joined_at.seconds,
        metadata=participant.metadata,
        attributes=dict(sorted(participant.attributes.items())),
        is_publisher=participant.is_publisher,
    )
