"""The shapes of LiveKit's other errors, over Twirp and below it."""

import json

import pytest
from google.protobuf.message import Message
from livekit.protocol import room as proto

from tests.livekit_contract.conftest import LiveKit

PATH = "/twirp/livekit.RoomService/"


async def test_the_root_tells_that_the_server_is_up(livekit: LiveKit) -> None:
    answer = await livekit.send("", verb="GET", path="/", content_type=None)
    assert (answer.status, answer.body) == (200, b"OK")


async def test_an_unknown_path_is_not_found_in_plain_text(livekit: LiveKit) -> None:
    answer = await livekit.send("", path="/twirp/livekit.Nope/ListRooms")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("verb", "method", "content_type", "text"),
    [
        ("GET", "ListRooms", "application/protobuf", 'unsupported method "GET" (only POST is allowed)'),
        ("PUT", "ListRooms", "application/protobuf", 'unsupported method "PUT" (only POST is allowed)'),
        ("POST", "Nope", "application/protobuf", f'no handler for path "{PATH}Nope"'),
        ("POST", "listRooms", "application/protobuf", f'no handler for path "{PATH}listRooms"'),
        ("POST", "ListRooms/", "application/protobuf", f'no handler for path "{PATH}ListRooms/"'),
        ("POST", "ListRooms", "text/plain", 'unexpected Content-Type: "text/plain"'),
        ("POST", "ListRooms", None, 'unexpected Content-Type: ""'),
    ],
)
async def test_a_call_that_twirp_cannot_route_is_a_bad_route(
    livekit: LiveKit, verb: str, method: str, content_type: str | None, text: str
) -> None:
    answer = await livekit.send(method, verb=verb, content_type=content_type)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")
    assert json.loads(answer.body) == {
        "code": "bad_route",
        "msg": text,
        "meta": {"twirp_invalid_route": f"{verb} {PATH}{method}"},
    }


async def test_the_content_type_may_carry_a_parameter_and_capitals(livekit: LiveKit) -> None:
    token = livekit.token({"roomList": True})
    answer = await livekit.send(
        "ListRooms", authorization=f"Bearer {token}", content_type="Application/Protobuf; a=b"
    )
    assert answer.status == 200


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x05abc", b"\x0a\x02\xff\xfe"],
                         ids=["garbage", "cut short", "a name that is not UTF-8"])  # fmt: skip
async def test_an_undecodable_request_is_malformed(livekit: LiveKit, body: bytes) -> None:
    answer = await livekit.call("ListRooms", body, roomList=True)
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/json")
    assert json.loads(answer.body) == {
        "code": "malformed",
        "msg": "the protobuf request could not be decoded",
    }


@pytest.mark.parametrize(
    ("method", "message", "what"),
    [
        ("DeleteRoom", proto.DeleteRoomRequest(room="absent"), "requested room"),
        ("UpdateRoomMetadata", proto.UpdateRoomMetadataRequest(room="absent"), "requested room"),
        ("GetParticipant", proto.RoomParticipantIdentity(room="absent"), "participant"),
        ("RemoveParticipant", proto.RoomParticipantIdentity(room="absent"), "participant"),
    ],
    ids=["DeleteRoom", "UpdateRoomMetadata", "GetParticipant", "RemoveParticipant"],
)
async def test_an_absent_room_is_not_found_by_these_methods(
    livekit: LiveKit, method: str, message: Message, what: str
) -> None:
    answer = await livekit.call(method, message, roomAdmin=True, roomCreate=True, room="absent")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")
    assert json.loads(answer.body) == {
        "code": "not_found",
        "msg": f"twirp error unknown: {what} does not exist",
    }


async def test_a_request_body_of_more_than_10_mib_is_taken(livekit: LiveKit) -> None:
    asked = proto.ListRoomsRequest(names=["x" * (11 * 2**20)])
    assert (await livekit.call("ListRooms", asked, roomList=True)).status == 200


async def test_answers_name_their_length_and_not_their_server(livekit: LiveKit) -> None:
    for answer in (
        await livekit.call("ListRooms", proto.ListRoomsRequest(names=["absent"]), roomList=True),
        await livekit.send("ListRooms"),
        await livekit.send("ListRooms", authorization="x"),
    ):
        assert set(answer.headers) == {"Content-Length", "Content-Type", "Vary", "Date"}
        assert int(answer.headers["Content-Length"]) == len(answer.body)
