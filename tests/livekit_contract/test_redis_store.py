"""Rooms written straight into the Redis behind a real LiveKit: a cheap way to many, and what may go wrong."""

import json

import aiohttp
import pytest
from livekit.protocol import models
from livekit.protocol import room as proto

from tests.support.real_livekit import RealLiveKit
from tests.support.redis_server import ROOMS_KEY, RedisServer
from tests.support.twirp import TwirpCaller


@pytest.fixture
def twirp(real_livekit_on_redis: RealLiveKit, http_session: aiohttp.ClientSession) -> TwirpCaller:
    return TwirpCaller(http_session, real_livekit_on_redis)


def stored_room(name: str, metadata: str = "") -> models.Room:
    return models.Room(sid=f"RM_{name}", name=name, metadata=metadata, creation_time=1)


async def test_stored_rooms_are_listed_like_any_other(redis_server: RedisServer, twirp: TwirpCaller) -> None:
    rooms = [stored_room(f"stored {number}", f"{number}") for number in range(12_000)]
    async with redis_server.rooms(rooms):
        listed = {room.name: room for room in await twirp.list_rooms()}
        assert [listed[room.name] for room in rooms] == rooms
        assert await twirp.list_rooms("stored 7", "absent", "stored 9000") == [rooms[7], rooms[9000]]
        assert await twirp.list_participants("stored 7") == []
    assert await twirp.list_rooms("stored 7", "stored 9000") == []


async def test_stored_participants_are_listed_until_their_room_goes(
    redis_server: RedisServer, twirp: TwirpCaller
) -> None:
    alice = models.ParticipantInfo(sid="PA_1", identity="alice")
    async with redis_server.rooms([stored_room("stage")]):
        await redis_server.put_participants("stage", [alice])
        assert await twirp.list_participants("stage") == [alice]
    assert await twirp.list_participants("stage") == []


async def test_a_stored_room_cannot_be_changed_over_the_api(
    redis_server: RedisServer, twirp: TwirpCaller
) -> None:
    async with redis_server.rooms([stored_room("stage")]):
        answer = await twirp.call("DeleteRoom", proto.DeleteRoomRequest(room="stage"), roomCreate=True)
        assert answer.status == 500
        assert json.loads(answer.body) == {"code": "unknown", "msg": "could not find object"}


async def test_creating_a_stored_room_takes_it_over_with_the_new_metadata(
    redis_server: RedisServer, twirp: TwirpCaller, real_livekit_on_redis: RealLiveKit
) -> None:
    # A name of its own: LiveKit closes the room a little later, and removes what is stored under its name.
    async with redis_server.rooms([stored_room("taken", "old")]):
        taken = await real_livekit_on_redis.create_room("taken", metadata="new")
        assert (taken.sid, taken.metadata) == ("RM_taken", "new")
        assert [room.metadata for room in await twirp.list_rooms("taken")] == ["new"]


def is_unreadable(error: bytes) -> bool:
    """Whether LiveKit says of something in its store that it cannot read it; the service looks for this."""
    said = json.loads(error)
    known = ("proto:", "string field contains invalid UTF-8")
    return said["code"] == "unknown" and str(said["msg"]).startswith(known)


async def test_a_corrupt_participant_fails_those_of_its_room(
    redis_server: RedisServer, twirp: TwirpCaller
) -> None:
    async with redis_server.rooms([stored_room("stage")]):
        await redis_server.client.hset("room_participants:stage", "somebody", b"xyz")
        asked = proto.ListParticipantsRequest(room="stage")
        answer = await twirp.call("ListParticipants", asked, roomAdmin=True, room="stage")
        assert answer.status == 500
        assert is_unreadable(answer.body)


@pytest.mark.parametrize("record", [b"xyz", b"\xff\xff", b"\x12\x02\xff\xfe"],
                         ids=["text", "garbage", "a name that is not UTF-8"])  # fmt: skip
async def test_one_corrupt_record_fails_the_whole_list_and_no_other(
    redis_server: RedisServer, twirp: TwirpCaller, record: bytes
) -> None:
    async with redis_server.rooms([stored_room("sound"), stored_room("corrupt")]):
        await redis_server.client.hset(ROOMS_KEY, "corrupt", record)
        for names in ([], ["sound", "corrupt"]):
            answer = await twirp.call("ListRooms", proto.ListRoomsRequest(names=names), roomList=True)
            assert (answer.status, answer.headers["Content-Type"]) == (500, "application/json")
            assert is_unreadable(answer.body)
        assert [room.name for room in await twirp.list_rooms("sound")] == ["sound"]


async def test_a_record_under_another_name_is_given_as_it_is(
    redis_server: RedisServer, twirp: TwirpCaller
) -> None:
    async with redis_server.rooms([stored_room("asked for")]):
        await redis_server.client.hset(
            ROOMS_KEY, "asked for", stored_room("somebody else's").SerializeToString()
        )
        assert [room.name for room in await twirp.list_rooms("asked for")] == ["somebody else's"]


async def test_a_failing_store_answers_with_redis_own_text(
    redis_server: RedisServer, twirp: TwirpCaller
) -> None:
    # LiveKit does not translate it, so this text must stop at TenantRooms.
    key = "room_participants:stage"
    await redis_server.client.set(key, "no hash")
    try:
        asked = proto.ListParticipantsRequest(room="stage")
        answer = await twirp.call("ListParticipants", asked, roomAdmin=True, room="stage")
    finally:
        await redis_server.client.delete(key)
    assert answer.status == 500
    assert json.loads(answer.body) == {
        "code": "unknown",
        "msg": "WRONGTYPE Operation against a key holding the wrong kind of value",
    }
