"""What LiveKit's RoomService tells about rooms, and keeps of them: for the double and the real server."""

import json
import time

import pytest
from livekit.protocol import models
from livekit.protocol import room as proto

from tests.livekit_contract.conftest import LiveKit

CODECS = {
    *("audio/PCMU", "audio/PCMA", "audio/opus", "audio/red"),
    *("video/VP8", "video/H264", "video/VP9", "video/AV1", "video/H265", "video/rtx"),
}


def names_of(rooms: list[models.Room]) -> list[str]:
    return sorted(room.name for room in rooms)


async def test_a_new_room_has_these_fields(livekit: LiveKit) -> None:
    before = time.time_ns() // 1_000_000
    room = await livekit.create_room("lobby", metadata="m", max_participants=7)
    after = time.time_ns() // 1_000_000
    assert room.sid.startswith("RM_")
    assert len(room.sid) == 15
    assert room.sid.removeprefix("RM_").isalnum()
    assert (room.name, room.metadata, room.max_participants) == ("lobby", "m", 7)
    assert before <= room.creation_time_ms <= after
    assert room.creation_time == room.creation_time_ms // 1000
    assert (room.num_participants, room.num_publishers, room.active_recording) == (0, 0, False)
    assert (room.empty_timeout, room.departure_timeout) == (300, 20)
    assert {codec.mime for codec in room.enabled_codecs} == CODECS
    # A secret, which LiveKit hands to whoever may list rooms.
    assert len(room.turn_password) > 40


async def test_a_list_gives_the_room_as_it_was_made(livekit: LiveKit) -> None:
    made = await livekit.create_room("lobby", metadata="m")
    assert await livekit.list_rooms("lobby") == [made]
    assert made in await livekit.list_rooms()


async def test_names_that_do_not_exist_are_left_out(livekit: LiveKit) -> None:
    await livekit.create_room("present")
    assert names_of(await livekit.list_rooms("absent", "present", "also absent")) == ["present"]
    assert await livekit.list_rooms("absent") == []


async def test_an_empty_answer_has_an_empty_body(livekit: LiveKit) -> None:
    answer = await livekit.call("ListRooms", proto.ListRoomsRequest(names=["absent"]), roomList=True)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, "application/protobuf", b"")


@pytest.mark.parametrize("is_allowed", [True, False], ids=["answer", "refusal"])
@pytest.mark.parametrize("origin", ["http://1f-a.tenantrooms.invalid", "http://20-a.tenantrooms.invalid"])
async def test_every_answer_repeats_the_origin_of_its_request(
    livekit: LiveKit, origin: str, is_allowed: bool
) -> None:
    token = livekit.token({"roomList": is_allowed})
    answer = await livekit.send("ListRooms", authorization=f"Bearer {token}", origin=origin)
    assert answer.status == (200 if is_allowed else 401)
    assert answer.headers.getall("Access-Control-Allow-Origin") == [origin]


async def test_no_names_at_all_means_every_room(livekit: LiveKit) -> None:
    for name in ("one", "two", "three"):
        await livekit.create_room(name)
    assert {"one", "two", "three"} <= set(names_of(await livekit.list_rooms()))


async def test_an_empty_name_is_a_name_and_does_not_mean_every_room(livekit: LiveKit) -> None:
    await livekit.create_room("lobby")
    assert await livekit.list_rooms("") == []
    assert names_of(await livekit.list_rooms("", "lobby")) == ["lobby"]


async def test_the_order_of_the_names_does_not_change_which_rooms_come(livekit: LiveKit) -> None:
    for name in ("a", "b", "c"):
        await livekit.create_room(name)
    forwards = await livekit.list_rooms("a", "b", "c")
    backwards = await livekit.list_rooms("c", "b", "a")
    assert sorted(forwards, key=lambda room: room.name) == sorted(backwards, key=lambda room: room.name)
    assert names_of(forwards) == ["a", "b", "c"]


async def test_a_name_asked_for_twice_comes_twice_from_redis_only(livekit: LiveKit) -> None:
    await livekit.create_room("a")
    await livekit.create_room("b")
    answered = names_of(await livekit.list_rooms("a", "b", "a", "absent", "a"))
    assert answered == (["a", "a", "a", "b"] if livekit.stores_in_redis else ["a", "b"])


async def test_many_names_in_one_request(livekit: LiveKit) -> None:
    await livekit.create_room("the one")
    names = [f"absent {number}" for number in range(5_000)]
    assert names_of(await livekit.list_rooms(*names, "the one")) == ["the one"]


@pytest.mark.parametrize("room", ["absent", "empty", ""])
async def test_participants_of_an_absent_room_are_an_empty_list(livekit: LiveKit, room: str) -> None:
    await livekit.create_room("empty")
    answer = await livekit.call(
        "ListParticipants", proto.ListParticipantsRequest(room=room), roomAdmin=True, room=room
    )
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, "application/protobuf", b"")


async def test_creating_a_room_that_is_there_leaves_it_as_it_is(livekit: LiveKit) -> None:
    first = await livekit.create_room("lobby", metadata="first")
    assert await livekit.create_room("lobby", metadata="second") == first
    assert await livekit.create_room("lobby") == first
    assert await livekit.list_rooms("lobby") == [first]


async def test_a_deleted_room_is_gone_at_once(livekit: LiveKit) -> None:
    await livekit.create_room("lobby")
    await livekit.delete_room("lobby")
    assert await livekit.list_rooms("lobby") == []
    assert "lobby" not in names_of(await livekit.list_rooms())


async def test_a_recreated_room_has_another_sid(livekit: LiveKit) -> None:
    first = await livekit.create_room("lobby", metadata="first")
    await livekit.delete_room("lobby")
    second = await livekit.create_room("lobby")
    assert second.sid != first.sid
    assert second.turn_password != first.turn_password
    assert second.creation_time_ms >= first.creation_time_ms
    assert second.metadata == ""
    assert await livekit.list_rooms("lobby") == [second]


@pytest.mark.parametrize("metadata", ["changed", ""])
async def test_a_change_of_metadata_shows_in_lists_and_keeps_the_sid(livekit: LiveKit, metadata: str) -> None:
    made = await livekit.create_room("lobby", metadata="first")
    changed = await livekit.update_metadata("lobby", metadata)
    assert changed.metadata == metadata
    [listed] = await livekit.list_rooms("lobby")
    assert (listed.sid, listed.metadata) == (made.sid, metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        '{"auth_id": "tenant"}',
        ' \t\r\n{"auth_id" : "tenant"}\n ',
        '{"auth_id":"a","auth_id":"b"}',
        "\ufeff{}",
        "not JSON \x00 at all \x7f",
        '{"k":"\\ud800"}',
        "caf\u00e9 cafe\u0301 😀 \u202e",
        "[" * 2_000,
        "x" * (512 * 1024),
    ],
    ids=lambda text: ascii(text[:24]),
)
async def test_metadata_is_kept_to_the_byte(livekit: LiveKit, metadata: str) -> None:
    await livekit.create_room("by creation", metadata=metadata)
    await livekit.create_room("by update")
    await livekit.update_metadata("by update", metadata)
    assert [room.metadata for room in await livekit.list_rooms("by creation", "by update")] == [metadata] * 2


async def test_metadata_over_512_kib_is_refused(livekit: LiveKit) -> None:
    await livekit.create_room("lobby", metadata="kept")
    too_long = "x" * (512 * 1024 + 1)
    for method, message in (
        ("CreateRoom", proto.CreateRoomRequest(name="never made", metadata=too_long)),
        ("UpdateRoomMetadata", proto.UpdateRoomMetadataRequest(room="lobby", metadata=too_long)),
    ):
        answer = await livekit.call(method, message, roomCreate=True, roomAdmin=True, room="lobby")
        assert answer.status == 400
        assert json.loads(answer.body) == {
            "code": "invalid_argument",
            "msg": "metadata size exceeds limits 524288",
            "meta": {"argument": "metadata size exceeds limits"},
        }
    assert [room.metadata for room in await livekit.list_rooms("lobby", "never made")] == ["kept"]


async def test_two_hundred_rooms_come_in_one_list(livekit: LiveKit) -> None:
    names = {f"room {number:03}" for number in range(200)}
    for name in names:
        await livekit.create_room(name, metadata=name)
    listed = {room.name: room.metadata for room in await livekit.list_rooms()}
    assert {name: listed[name] for name in names} == {name: name for name in names}
