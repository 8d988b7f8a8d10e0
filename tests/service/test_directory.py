"""The directory: which rooms there are and whose, as of a reading that began after the question."""

import asyncio

import pytest
from livekit.protocol.models import ParticipantInfo

from service.auth.principal import AllRooms, OneTenant, TenantId
from service.consistency import Consistency
from service.directory import Directory, OwnedRoom, UnconfiguredDirectory
from service.errors import LiveKitFailed, LiveKitNotConfigured
from service.ownership import Ownerless, owner_of
from tests.service.recorded_rooms import RecordedLiveKit, room

ACME = OneTenant(TenantId("acme"))


async def test_a_scope_gets_its_rooms_by_code_point() -> None:
    names = ["b", "B", "a", "\U0001f600", "\uff5e", "Z", "\u00e9"]
    livekit = RecordedLiveKit(*(room(name, "acme") for name in names), room("0", "globex"), room("1"))
    for consistency in Consistency:
        own = await livekit.directory.rooms(ACME, consistency)
        assert [owned.room.name for owned in own] == ["B", "Z", "a", "b", "\u00e9", "\uff5e", "\U0001f600"]
        assert {owned.owner for owned in own} == {"acme"}
        everything = await livekit.directory.rooms(AllRooms(), consistency)
        assert {owned.owner for owned in everything} == {"acme", "globex", Ownerless.NO_METADATA}
        assert len(everything) == 9


async def test_each_question_is_asked_anew() -> None:
    livekit = RecordedLiveKit(room("a", "acme"))
    directory = livekit.directory
    assert len(await directory.rooms(ACME, Consistency.FULL)) == 1
    livekit.rooms.clear()
    assert await directory.rooms(ACME, Consistency.FULL) == []
    assert await directory.room("a") is None
    livekit.put(room("a", "globex"))
    assert await directory.room("a") == OwnedRoom(room("a", "globex"), TenantId("globex"))
    assert [question for question, _ in livekit.asked] == ["all rooms", "all rooms", "rooms", "rooms"]


async def test_the_owner_is_whoever_the_given_rule_names() -> None:
    directory = Directory(RecordedLiveKit(room("a", "acme")), owner_of=TenantId)
    found = await directory.room("a")
    assert found is not None
    assert found.owner == '{"auth_id": "acme"}'


async def test_each_reading_of_all_rooms_is_told_with_its_counts_whoever_asked() -> None:
    told: list[tuple[int, dict[Ownerless, int]]] = []
    livekit = RecordedLiveKit(
        room("a", "acme"), room("b", "globex"), room("c"), room("d"), room("e", metadata='{"auth_id":')
    )
    directory = Directory(livekit, owner_of, lambda owned, ownerless: told.append((owned, dict(ownerless))))
    await directory.rooms(ACME, Consistency.FULL)
    livekit.rooms.clear()
    await directory.rooms(AllRooms(), Consistency.FULL)
    await directory.room("a")
    livekit.failures[4] = LiveKitFailed("down")
    with pytest.raises(LiveKitFailed):
        await directory.rooms(ACME, Consistency.FULL)
    assert told == [(2, {Ownerless.NO_METADATA: 2, Ownerless.NOT_JSON: 1}), (0, {})]


async def test_participants_are_passed_on() -> None:
    livekit = RecordedLiveKit()
    livekit.participants["a"] = [ParticipantInfo(identity="somebody")]
    assert await livekit.directory.participants("a") == [ParticipantInfo(identity="somebody")]


async def test_a_failed_reading_is_no_empty_list() -> None:
    livekit = RecordedLiveKit()
    livekit.failures = dict.fromkeys((1, 2, 3), LiveKitFailed("down"))
    with pytest.raises(LiveKitFailed):
        await livekit.directory.rooms(AllRooms(), Consistency.FULL)
    with pytest.raises(LiveKitFailed):
        await livekit.directory.room("a")
    with pytest.raises(LiveKitFailed):
        await livekit.directory.participants("a")


@pytest.mark.parametrize(("rooms", "metadata"), [(3_000, ""), (3, "x" * 512 * 1024)])
async def test_other_calls_get_their_turns_while_many_or_large_rooms_are_looked_at(
    rooms: int, metadata: str
) -> None:
    livekit = RecordedLiveKit(*(room(str(number), metadata=metadata) for number in range(rooms)))
    turns = 0

    async def other_calls() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(other_calls())
    await livekit.directory.rooms(AllRooms(), Consistency.FULL)
    others.cancel()
    assert turns >= 2


async def test_without_livekit_credentials_every_question_fails() -> None:
    directory = UnconfiguredDirectory()
    with pytest.raises(LiveKitNotConfigured):
        await directory.rooms(AllRooms(), Consistency.FULL)
    with pytest.raises(LiveKitNotConfigured):
        await directory.room("a")
    with pytest.raises(LiveKitNotConfigured):
        await directory.participants("a")
