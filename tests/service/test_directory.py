"""The directory: which rooms there are and whose, and how callers share what LiveKit is asked."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import pytest
from livekit.protocol.models import ParticipantInfo

from service.auth.principal import AllRooms, OneTenant, Scope, TenantId
from service.batches import Asker
from service.consistency import Consistency
from service.directory import MOST_PARTICIPANTS_QUESTIONS, Directory, UnconfiguredDirectory
from service.errors import LiveKitFailed, LiveKitNotConfigured, LiveKitUnavailable, Overloaded
from service.livekit_transport import MOST_CONNECTIONS
from service.named_rooms import OwnedRoom
from service.ownership import Ownerless, owner_of
from service.places import Limit
from service.servicer import room_summary
from tests.service.held_livekit import HeldLiveKit
from tests.service.recorded_rooms import RecordedLiveKit, room

ACME, GLOBEX = OneTenant(TenantId("acme")), OneTenant(TenantId("globex"))


def directory_on(livekit: HeldLiveKit) -> Directory:
    return Directory(livekit, owner_of, room_summary, index_interval=1)


async def test_a_scope_gets_its_rooms_by_code_point() -> None:
    names = ["b", "B", "a", "\U0001f600", "\uff5e", "Z", "\u00e9"]
    livekit = RecordedLiveKit(*(room(name, "acme") for name in names), room("0", "globex"), room("1"))
    directory = livekit.directory
    for consistency in (*Consistency, *Consistency):
        own = await directory.rooms(ACME, consistency)
        assert [room.name for room in own] == ["B", "Z", "a", "b", "\u00e9", "\uff5e", "\U0001f600"]
        assert {room.owner for room in own} == {"acme"}
        everything = await directory.rooms(AllRooms(), consistency)
        assert {room.owner for room in everything} == {"acme", "globex", Ownerless.NO_METADATA}
        assert len(everything) == 9
    await directory.close()


async def test_each_question_is_asked_anew() -> None:
    livekit = RecordedLiveKit(room("a", "acme"))
    directory = livekit.directory
    assert len(await directory.rooms(ACME, Consistency.FULL)) == 1
    livekit.rooms.clear()
    assert await directory.rooms(ACME, Consistency.FULL) == []
    assert await directory.room("a", Asker(ACME)) is None
    livekit.put(room("a", "globex"))
    assert await directory.room("a", Asker(ACME)) == OwnedRoom(room("a", "globex"), TenantId("globex"))
    assert [question for question, _ in livekit.asked] == ["all rooms", "all rooms", "rooms", "rooms"]


async def test_the_owner_is_whoever_the_given_rule_names() -> None:
    directory = Directory(RecordedLiveKit(room("a", "acme")), TenantId, room_summary, index_interval=1)
    found = await directory.room("a", Asker(ACME))
    assert found is not None
    assert found.owner == '{"auth_id": "acme"}'
    (listed,) = await directory.rooms(AllRooms(), Consistency.FULL)
    assert listed.owner == '{"auth_id": "acme"}'


async def test_each_reading_of_all_rooms_is_told_with_its_counts_whoever_asked() -> None:
    told: list[tuple[int, dict[Ownerless, int]]] = []
    livekit = RecordedLiveKit(
        room("a", "acme"), room("b", "globex"), room("c"), room("d"), room("e", metadata='{"auth_id":')
    )

    def on_scan(owned: int, ownerless: Mapping[Ownerless, int]) -> None:
        told.append((owned, {reason: count for reason, count in ownerless.items() if count}))

    directory = Directory(livekit, owner_of, room_summary, 1, on_scan)
    await directory.rooms(ACME, Consistency.FULL)
    livekit.rooms.clear()
    await directory.rooms(AllRooms(), Consistency.FULL)
    await directory.room("a", Asker(ACME))
    livekit.failures[4] = LiveKitFailed("down")
    with pytest.raises(LiveKitFailed):
        await directory.rooms(ACME, Consistency.FULL)
    assert told == [(2, {Ownerless.NO_METADATA: 2, Ownerless.NOT_JSON: 1}), (0, {})]


async def test_participants_are_passed_on() -> None:
    livekit = RecordedLiveKit()
    livekit.participants["a"] = [ParticipantInfo(identity="somebody")]
    assert await livekit.directory.participants("a", TenantId("acme")) == [
        ParticipantInfo(identity="somebody")
    ]


async def test_a_failed_reading_is_no_empty_list() -> None:
    livekit = RecordedLiveKit()
    livekit.failures = dict.fromkeys((1, 2, 3), LiveKitFailed("down"))
    directory = livekit.directory
    with pytest.raises(LiveKitFailed):
        await directory.rooms(AllRooms(), Consistency.FULL)
    with pytest.raises(LiveKitFailed):
        await directory.room("a", Asker(ACME))
    with pytest.raises(LiveKitFailed):
        await directory.participants("a", TenantId("acme"))


async def test_callers_of_all_tenants_share_the_scan_that_begins_after_they_came() -> None:
    livekit = HeldLiveKit(room("a", "acme"), room("g", "globex"))
    directory = directory_on(livekit)
    first = asyncio.create_task(directory.rooms(ACME, Consistency.FULL))
    in_the_air = await livekit.until(1)
    scopes: list[Scope] = [ACME, GLOBEX, AllRooms()]
    late = [asyncio.create_task(directory.rooms(scope, Consistency.FULL)) for scope in scopes * 20]
    await asyncio.sleep(0)
    livekit.rooms["a2"] = room("a2", "acme")
    in_the_air.land()
    assert [room.name for room in await first] == ["a"]
    (await livekit.until(2)).land()
    lists = [[room.name for room in rooms] for rooms in await asyncio.gather(*late)]
    assert lists == [["a", "a2"], ["g"], ["a", "a2", "g"]] * 20
    assert len(livekit.readings) == 2


async def test_callers_of_the_same_room_share_its_participants() -> None:
    livekit = HeldLiveKit()
    livekit.participants = {"a": [ParticipantInfo(identity="a")], "b": [ParticipantInfo(identity="b")]}
    directory = directory_on(livekit)
    callers = [asyncio.create_task(directory.participants(name, TenantId("acme"))) for name in "ababab"]
    for number in (1, 2):
        (await livekit.until(number)).land()
    assert [[person.identity for person in found] for found in await asyncio.gather(*callers)] == [
        *([["a"], ["b"]] * 3)
    ]
    assert sorted(reading.about for reading in livekit.readings) == [("a",), ("b",)]


async def test_an_owner_whose_rooms_livekit_hangs_at_holds_up_nobody_else() -> None:
    refused: list[Limit] = []
    livekit = HeldLiveKit(room("g", "globex"))
    directory = Directory(
        livekit, owner_of, room_summary, index_interval=1, turn_seconds=0.2, refused=refused.append
    )
    acme, globex = TenantId("acme"), TenantId("globex")
    hung = [
        asyncio.create_task(directory.participants(f"a{number}", acme))
        for number in range(MOST_PARTICIPANTS_QUESTIONS * 3)
    ]
    await asyncio.sleep(0)
    asked = MOST_PARTICIPANTS_QUESTIONS // 2
    assert (await livekit.until(asked)).about == (f"a{asked - 1}",)
    found = asyncio.create_task(directory.participants("g", globex))
    own = await livekit.until(asked + 1)
    assert own.about == ("g",)
    own.land()
    assert await found == []
    surplus = await asyncio.wait_for(asyncio.gather(*hung[asked:], return_exceptions=True), 10)
    assert {type(error) for error in surplus} == {Overloaded}
    assert refused == [Limit.TENANT_CALLS] * len(surplus)
    for reading in livekit.readings:
        reading.land()
    assert await asyncio.gather(*hung[:asked]) == [[]] * asked
    after = asyncio.create_task(directory.participants("a0", acme))
    (await livekit.until(len(livekit.readings) + 1)).land()
    assert await after == []


def test_questions_about_participants_leave_connections_for_lists_and_for_the_probe() -> None:
    assert MOST_PARTICIPANTS_QUESTIONS <= MOST_CONNECTIONS - 16


async def test_a_failed_scan_fails_those_who_waited_for_it_and_nobody_after() -> None:
    livekit = HeldLiveKit(room("a", "acme"))
    directory = directory_on(livekit)
    waiting = [asyncio.create_task(directory.rooms(ACME, Consistency.FULL)) for _ in range(3)]
    in_the_air = await livekit.until(1)
    late = asyncio.create_task(directory.rooms(ACME, Consistency.FULL))
    await asyncio.sleep(0)
    in_the_air.land(LiveKitUnavailable("down"))
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(failure) for failure in failures] == [LiveKitUnavailable] * 3
    (await livekit.until(2)).land()
    assert [room.name for room in await late] == ["a"]


async def test_a_record_that_is_no_room_fails_the_whole_list_and_the_next_scan_is_well() -> None:
    class Damaged(RecordedLiveKit):
        damage = True

        async def list_all_rooms(self) -> list[bytes]:
            records = await super().list_all_rooms()
            return [*records, b"\xff"] if self.damage else records

    livekit = Damaged(room("a", "acme"))
    directory = livekit.directory
    with pytest.raises(LiveKitFailed):
        await directory.rooms(ACME, Consistency.FULL)
    livekit.damage = False
    assert [room.name for room in await directory.rooms(ACME, Consistency.FULL)] == ["a"]


async def test_an_exception_in_a_scan_leaves_nothing_stuck() -> None:
    def rule(metadata: str) -> TenantId:
        if metadata == "trap":
            raise RuntimeError("a bug")
        return TenantId("acme")

    livekit = RecordedLiveKit(room("a", metadata="trap"))
    directory = Directory(livekit, rule, room_summary, index_interval=1)
    for ask in (lambda: directory.rooms(ACME, Consistency.FULL), lambda: directory.room("a", Asker(ACME))):
        with pytest.raises(RuntimeError):
            await ask()
    livekit.put(room("a", metadata="well"))
    assert [room.name for room in await directory.rooms(ACME, Consistency.FULL)] == ["a"]
    assert await directory.room("a", Asker(ACME)) is not None


async def test_a_reading_that_nobody_waits_for_is_aborted_and_one_that_somebody_waits_for_is_not() -> None:
    livekit = HeldLiveKit(room("a", "acme"))
    directory = directory_on(livekit)
    for ask in (
        lambda: directory.rooms(ACME, Consistency.FULL),
        lambda: directory.room("a", Asker(ACME)),
        lambda: directory.participants("a", TenantId("acme")),
    ):
        before = len(livekit.readings)
        leaving, staying = asyncio.ensure_future(ask()), asyncio.ensure_future(ask())
        reading = await livekit.until(before + 1)
        leaving.cancel()
        await asyncio.wait({leaving})
        assert not reading.aborted
        staying.cancel()
        await livekit.until_aborted(reading)
        after = asyncio.ensure_future(ask())
        (await livekit.until(before + 2)).land()
        await after


async def test_without_livekit_credentials_every_question_fails() -> None:
    directory = UnconfiguredDirectory()
    with pytest.raises(LiveKitNotConfigured):
        await directory.rooms(AllRooms(), Consistency.FULL)
    with pytest.raises(LiveKitNotConfigured):
        await directory.room("a", Asker(ACME))
    with pytest.raises(LiveKitNotConfigured):
        await directory.participants("a", TenantId("acme"))


class ReadInVain:
    """A LiveKit that fails after it has read something."""

    def __init__(self) -> None:
        self.read: list[weakref.ref[set[int]]] = []

    async def _fail(self, *_about: object) -> Any:
        read = set(range(1_000))
        self.read.append(weakref.ref(read))
        await asyncio.sleep(0)
        raise LiveKitUnavailable

    list_all_rooms = list_rooms_named = list_participants = _fail


@pytest.mark.parametrize(
    "ask",
    [
        lambda directory: directory.rooms(ACME, Consistency.FULL),
        lambda directory: directory.room("a", Asker(ACME)),
        lambda directory: directory.participants("a", TenantId("acme")),
    ],
    ids=["rooms", "room", "participants"],
)
async def test_what_was_read_before_a_failure_goes_without_the_help_of_the_garbage_collector(
    ask: Callable[[Directory], Coroutine[Any, Any, object]],
) -> None:
    livekit = ReadInVain()
    directory = Directory(livekit, owner_of, room_summary, 1)

    async def fail() -> None:
        with pytest.raises(LiveKitUnavailable):
            await ask(directory)

    gc.collect()
    gc.disable()
    try:
        await asyncio.gather(fail(), fail())
        for _ in range(3):
            await asyncio.sleep(0)
        assert [read() for read in livekit.read] == [None]
    finally:
        gc.enable()
