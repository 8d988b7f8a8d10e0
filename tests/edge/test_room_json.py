"""The JSON of rooms, to the byte: every field, in order, never null."""

import json

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from edge.room_json import details_json, health_json, list_json, participants_json, summaries_json
from tenantrooms.v1 import tenant_rooms_pb2 as pb

CREATED, JOINED = Timestamp(seconds=1_767_261_600, nanos=999_999_999), Timestamp(seconds=1_767_261_642)


def test_the_status() -> None:
    assert health_json() == b'{"status":"OK"}'


def test_no_rooms() -> None:
    assert list_json([]) == b'{"rooms":[]}'
    assert list_json([summaries_json([])]) == b'{"rooms":[]}'


def test_a_list_keeps_the_order_of_the_service_over_all_its_pieces() -> None:
    rooms = [
        pb.RoomSummary(name=name, sid="RM_1", num_participants=2, creation_time=CREATED) for name in "bac"
    ]
    pieces = [summaries_json(rooms[:2]), summaries_json([]), summaries_json(rooms[2:])]
    assert list_json(pieces) == (
        b'{"rooms":[{"name":"b","num_participants":2,"creation_time":1767261600},'
        b'{"name":"a","num_participants":2,"creation_time":1767261600},'
        b'{"name":"c","num_participants":2,"creation_time":1767261600}]}'
    )


def test_an_empty_room_has_every_field() -> None:
    assert details_json(pb.Room(), []) == (
        b'{"sid":"","name":"","num_participants":0,"max_participants":0,"creation_time":0,'
        b'"metadata":"","active_recording":false,"participants":[]}'
    )


def test_a_full_room() -> None:
    response = pb.GetRoomResponse(
        room=pb.Room(
            sid="RM_1",
            name="stand-up",
            num_participants=1,
            max_participants=20,
            creation_time=CREATED,
            metadata='{"auth_id": "acme", "n": 1.0}',
            active_recording=True,
        ),
        participants=[
            pb.Participant(
                sid="PA_1",
                identity="user-17",
                name="Desk 17",
                state=pb.PARTICIPANT_STATE_ACTIVE,
                kind=pb.PARTICIPANT_KIND_SIP,
                joined_at=JOINED,
                metadata="\x00 not JSON",
                attributes={"b": "2", "a": "", "lk.agent": "x"},
                is_publisher=True,
            ),
            pb.Participant(),
        ],
    )
    pieces = [participants_json(response.participants[:1]), participants_json(response.participants[1:])]
    assert details_json(response.room, pieces) == (
        b'{"sid":"RM_1","name":"stand-up","num_participants":1,"max_participants":20,'
        b'"creation_time":1767261600,"metadata":"{\\"auth_id\\": \\"acme\\", \\"n\\": 1.0}",'
        b'"active_recording":true,"participants":['
        b'{"sid":"PA_1","identity":"user-17","name":"Desk 17","state":"ACTIVE","kind":"SIP",'
        b'"joined_at":1767261642,"metadata":"\\u0000 not JSON",'
        b'"attributes":{"a":"","b":"2","lk.agent":"x"},"is_publisher":true},'
        b'{"sid":"","identity":"","name":"","state":"UNKNOWN","kind":"UNKNOWN",'
        b'"joined_at":0,"metadata":"","attributes":{},"is_publisher":false}]}'
    )


@pytest.mark.parametrize(
    "name", ["caf\u00e9", "cafe\u0301", "\U0001f3a5", "\"'\\/<&>", "\x1b[31m\r\n", "\u2028", " a "]
)
def test_names_and_metadata_are_as_the_service_gave_them(name: str) -> None:
    room = pb.Room(name=name, metadata=name)
    details = json.loads(details_json(room, []))
    assert (details["name"], details["metadata"]) == (name, name)
    (summary,) = json.loads(list_json([summaries_json([pb.RoomSummary(name=name)])]))["rooms"]
    assert summary["name"] == name


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (pb.PARTICIPANT_STATE_UNSPECIFIED, "UNKNOWN"),
        (pb.PARTICIPANT_STATE_JOINING, "JOINING"),
        (pb.PARTICIPANT_STATE_JOINED, "JOINED"),
        (pb.PARTICIPANT_STATE_ACTIVE, "ACTIVE"),
        (pb.PARTICIPANT_STATE_DISCONNECTED, "DISCONNECTED"),
        (99, "UNKNOWN"),
    ],
)
def test_the_words_for_states(number: pb.ParticipantState.ValueType, word: str) -> None:
    assert _participant(pb.Participant(state=number))["state"] == word


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (pb.PARTICIPANT_KIND_UNSPECIFIED, "UNKNOWN"),
        (pb.PARTICIPANT_KIND_STANDARD, "STANDARD"),
        (pb.PARTICIPANT_KIND_INGRESS, "INGRESS"),
        (pb.PARTICIPANT_KIND_EGRESS, "EGRESS"),
        (pb.PARTICIPANT_KIND_SIP, "SIP"),
        (pb.PARTICIPANT_KIND_AGENT, "AGENT"),
        (99, "UNKNOWN"),
    ],
)
def test_the_words_for_kinds(number: pb.ParticipantKind.ValueType, word: str) -> None:
    assert _participant(pb.Participant(kind=number))["kind"] == word


def _participant(participant: pb.Participant) -> dict[str, object]:
    details = json.loads(details_json(pb.Room(), [participants_json([participant])]))
    (found,) = details["participants"]
    assert isinstance(found, dict)
    return found
