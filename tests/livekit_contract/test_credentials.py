"""Who may call LiveKit's RoomService, and what everybody else is told."""

import json
from collections.abc import Mapping

import pytest
from google.protobuf.message import Message
from livekit.protocol import room as proto

from tests.livekit_contract.conftest import LiveKit
from tests.support.livekit_auth import sign_token

OTHER_SECRET = "another-secret-of-thirty-two-bytes-or-more-of-length-for-hs512-too"

# Each method with a request and the grants that it needs.
METHODS: Mapping[str, tuple[Message, Mapping[str, object]]] = {
    "ListRooms": (proto.ListRoomsRequest(), {"roomList": True}),
    "ListParticipants": (proto.ListParticipantsRequest(room="r"), {"roomAdmin": True, "room": "r"}),
    "GetParticipant": (
        proto.RoomParticipantIdentity(room="r", identity="i"),
        {"roomAdmin": True, "room": "r"},
    ),
    "RemoveParticipant": (
        proto.RoomParticipantIdentity(room="r", identity="i"),
        {"roomAdmin": True, "room": "r"},
    ),
    "UpdateRoomMetadata": (proto.UpdateRoomMetadataRequest(room="r"), {"roomAdmin": True, "room": "r"}),
    "CreateRoom": (proto.CreateRoomRequest(name="never made"), {"roomCreate": True}),
    "DeleteRoom": (proto.DeleteRoomRequest(room="r"), {"roomCreate": True}),
}
EVERY_GRANT = {"roomList": True, "roomCreate": True, "roomAdmin": True, "room": "r"}


@pytest.mark.parametrize("method", METHODS)
async def test_without_a_credential_a_call_is_unauthenticated(livekit: LiveKit, method: str) -> None:
    answer = await livekit.send(method, METHODS[method][0])
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == b'{"code":"unauthenticated","msg":"permissions denied"}'


@pytest.mark.parametrize("method", METHODS)
async def test_a_missing_grant_is_unauthenticated_and_not_forbidden(livekit: LiveKit, method: str) -> None:
    message, needed = METHODS[method]
    others = {name: value for name, value in EVERY_GRANT.items() if name not in needed or name == "room"}
    answer = await livekit.call(method, message, **others)
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.body) == {"code": "unauthenticated", "msg": "permissions denied"}


@pytest.mark.parametrize("method", [name for name, (_, needed) in METHODS.items() if "room" in needed])
@pytest.mark.parametrize("room", ["other", "R", "r ", "", None])
async def test_a_room_admin_rules_no_other_room(livekit: LiveKit, method: str, room: str | None) -> None:
    grants: dict[str, object] = {"roomAdmin": True} | ({} if room is None else {"room": room})
    answer = await livekit.call(method, METHODS[method][0], **grants)
    assert (answer.status, json.loads(answer.body)["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("method", [name for name in METHODS if name not in {"CreateRoom"}])
async def test_the_least_grant_is_enough(livekit: LiveKit, method: str) -> None:
    message, needed = METHODS[method]
    assert (await livekit.call(method, message, **needed)).status in {200, 404}


async def test_the_grant_to_create_is_not_bound_to_a_room(livekit: LiveKit) -> None:
    await livekit.create_room("kept out of the grant")
    answer = await livekit.call(
        "DeleteRoom", proto.DeleteRoomRequest(room="kept out of the grant"), roomCreate=True, room="another"
    )
    assert answer.status == 200
    assert await livekit.list_rooms("kept out of the grant") == []


@pytest.mark.parametrize(
    ("lives", "starts", "accepted"),
    [(-30, 0, True), (-90, 0, False), (300, 30, True), (300, 90, False)],
    ids=["ended 30 s ago", "ended 90 s ago", "begins in 30 s", "begins in 90 s"],
)
async def test_a_minute_of_clock_difference_is_forgiven(
    livekit: LiveKit, lives: float, starts: float, accepted: bool
) -> None:
    token = livekit.token({"roomList": True}, lives=lives, starts=starts)
    answer = await livekit.send("ListRooms", authorization=f"Bearer {token}")
    if accepted:
        assert answer.status == 200
    else:
        reason = "token is expired" if lives < 0 else "token is not valid yet"
        assert answer.status == 401
        assert answer.body.decode() == f"invalid token: {token}, error: token has invalid claims: {reason}"


@pytest.mark.parametrize(
    "claims",
    [{"exp": None}, {"nbf": None}, {"aud": "somebody"}, {"iat": 9_999_999_999}, {"sub": "x", "extra": [1]}],
    ids=str,
)
async def test_a_token_needs_no_more_than_an_issuer_and_grants(
    livekit: LiveKit, claims: dict[str, object]
) -> None:
    token = livekit.token({"roomList": True}, claims=claims)
    assert (await livekit.send("ListRooms", authorization=f"Bearer {token}")).status == 200


@pytest.mark.parametrize(
    ("authorization", "text"),
    [
        ("Basic dTpw", "invalid authorization header. Must start with Bearer "),
        ("bearer a.b.c", "invalid authorization header. Must start with Bearer "),
        ("Bearer", "invalid authorization header. Must start with Bearer "),
        ("Bearer x", "invalid authorization token"),
        ("Bearer a.b.c", "invalid authorization token"),
    ],
)
async def test_a_credential_that_is_no_token_is_refused_in_plain_text(
    livekit: LiveKit, authorization: str, text: str
) -> None:
    answer = await livekit.send("ListRooms", authorization=authorization)
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.body.decode() == text


async def test_an_unknown_api_key_is_named_in_the_refusal(livekit: LiveKit) -> None:
    token = sign_token("nobody", OTHER_SECRET, {"roomList": True})
    answer = await livekit.send("ListRooms", authorization=f"Bearer {token}")
    assert (answer.status, answer.body) == (401, b"invalid API key: nobody")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("what", ["signed with another secret", "HS512", "none", "grant of a wrong type"])
async def test_an_unproven_token_is_quoted_in_the_refusal(livekit: LiveKit, what: str) -> None:
    token, reason = {
        "signed with another secret": (
            sign_token("devkey", OTHER_SECRET, {"roomList": True}),
            "token signature is invalid: signature is invalid",
        ),
        "HS512": (
            sign_token("devkey", OTHER_SECRET, {"roomList": True}, algorithm="HS512"),
            "token signature is invalid: signing method HS512 is invalid",
        ),
        "none": (
            sign_token("devkey", "", {"roomList": True}, algorithm="none"),
            "token signature is invalid: signing method none is invalid",
        ),
        "grant of a wrong type": (
            livekit.token({"roomList": "true"}),
            "token is malformed: could not JSON decode claim",
        ),
    }[what]
    answer = await livekit.send("ListRooms", authorization=f"Bearer {token}")
    assert answer.status == 401
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    # Hence no text of LiveKit's may ever reach a caller or a log.
    assert answer.body.decode().startswith(f"invalid token: {token}, error: {reason}")


async def test_a_token_without_grants_is_sound_and_allows_nothing(livekit: LiveKit) -> None:
    answer = await livekit.send("ListRooms", authorization=f"Bearer {livekit.token(None)}")
    assert (answer.status, answer.headers["Content-Type"]) == (401, "application/json")


async def test_a_bad_token_is_refused_on_every_path(livekit: LiveKit) -> None:
    for path in ("/", "/nowhere", "/twirp/livekit.RoomService/Nope"):
        answer = await livekit.send("", authorization="Bearer x", path=path)
        assert (answer.status, answer.body) == (401, b"invalid authorization token")
