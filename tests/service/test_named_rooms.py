"""Rooms by name: callers share one question, and what is wrong with one name stays with that name."""

import asyncio
import gc
import time
import weakref
from collections.abc import Collection

import pytest
from livekit.protocol.models import Room

from service.auth.principal import AllRooms, OneTenant, Scope, TenantId
from service.batches import Asker
from service.errors import LiveKitFailed, LiveKitRefused, LiveKitTimedOut, LiveKitUnavailable
from service.named_rooms import NamedRooms, OwnedRoom
from service.ownership import Owner, owner_of
from service.room_records import by_asked_name
from tests.service.held_livekit import HeldLiveKit
from tests.service.recorded_rooms import RecordedLiveKit, room
from tests.support.loop_turns import LoopTurns

ACME, GLOBEX = OneTenant(TenantId("acme")), OneTenant(TenantId("globex"))


def found(rooms: list[OwnedRoom | None]) -> list[str | None]:
    return [None if owned is None else owned.room.name for owned in rooms]


async def test_callers_that_come_during_a_question_share_the_next_one() -> None:
    livekit = HeldLiveKit(room("a", "acme"), room("b", "globex"))
    named = NamedRooms(livekit, owner_of)
    first = asyncio.create_task(named.find("a", Asker(ACME)))
    in_the_air = await livekit.until(1)
    late = [asyncio.create_task(named.find(name, Asker(ACME))) for name in ["b", "a", "absent", "b"] * 10]
    await asyncio.sleep(0)
    livekit.rooms["a"] = room("a", "globex", sid="RM_2")
    in_the_air.land()
    assert await first == OwnedRoom(room("a", "acme"), owner_of('{"auth_id": "acme"}'))
    (await livekit.until(2)).land()
    answers = await asyncio.gather(*late)
    assert found(answers) == ["b", "a", None, "b"] * 10
    assert answers[1] is not None
    assert answers[1].room.sid == "RM_2"
    assert sorted(livekit.readings[1].about) == ["a", "absent", "b"]
    assert len(livekit.readings) == 2


async def test_very_many_names_are_asked_for_in_several_questions() -> None:
    livekit = RecordedLiveKit(*(room(str(number)) for number in range(1_234)))
    named = NamedRooms(livekit, owner_of)
    answers = await asyncio.gather(*(named.find(str(number), Asker(ACME)) for number in range(1_300)))
    assert found(answers) == [*map(str, range(1_234)), *([None] * 66)]
    assert [len(names) for _, names in livekit.asked] == [100] * 13


async def test_each_question_is_answered_when_it_has_landed_and_fails_for_its_own_names_alone() -> None:
    livekit = HeldLiveKit(*(room(str(number), "acme") for number in range(150)))
    named = NamedRooms(livekit, owner_of)
    tasks = [asyncio.create_task(named.find(str(number), Asker(ACME))) for number in range(150)]
    slow, quick = await livekit.until(1), await livekit.until(2)
    assert (len(slow.about), len(quick.about)) == (100, 50)
    quick.land()
    async with asyncio.timeout(10):
        assert found(await asyncio.gather(*tasks[100:])) == [str(number) for number in range(100, 150)]
    assert not any(task.done() for task in tasks[:100])
    slow.land(LiveKitTimedOut("slow"))
    answers = await asyncio.gather(*tasks[:100], return_exceptions=True)
    assert {type(answer) for answer in answers} == {LiveKitTimedOut}
    assert len(livekit.readings) == 2


async def test_a_question_whose_callers_have_all_left_is_given_up_though_others_were_answered() -> None:
    livekit = HeldLiveKit()
    named = NamedRooms(livekit, owner_of)
    tasks = [asyncio.create_task(named.find(str(number), Asker(ACME))) for number in range(101)]
    slow, quick = await livekit.until(1), await livekit.until(2)
    for task in tasks[:100]:
        task.cancel()
    quick.land()
    assert await tasks[100] is None
    await livekit.until_aborted(slow)


async def test_other_calls_get_their_turns_between_any_two_rooms_with_large_metadata() -> None:
    turns = LoopTurns()
    read_in: list[int] = []

    def slow_owner_of(metadata: str) -> Owner:
        read_in.append(turns.taken)
        time.sleep(0.003)
        return owner_of(metadata)

    livekit = RecordedLiveKit(*(room(str(number)) for number in range(0, 300, 50)))
    named = NamedRooms(livekit, slow_owner_of)
    others = asyncio.create_task(turns.take_all())
    await asyncio.gather(*(named.find(str(number), Asker(ACME)) for number in range(300)))
    others.cancel()
    assert len(livekit.asked) == 3
    assert len(read_in) == len(set(read_in)) == 6


async def test_names_of_callers_that_left_are_not_asked_for() -> None:
    livekit = HeldLiveKit()
    named = NamedRooms(livekit, owner_of)
    first = asyncio.create_task(named.find("first", Asker(ACME)))
    in_the_air = await livekit.until(1)
    shared = asyncio.create_task(named.find("shared", Asker(ACME)))
    gone = [asyncio.create_task(named.find(f"gone {number}", Asker(ACME))) for number in range(1_000)]
    gone.append(asyncio.create_task(named.find("shared", Asker(GLOBEX))))
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await asyncio.wait(gone)
    last = asyncio.create_task(named.find("last", Asker(ACME)))
    in_the_air.land()
    assert (await livekit.until(2)).about == ("shared", "last")
    livekit.readings[1].land()
    assert list(await asyncio.gather(first, shared, last)) == [None] * 3
    assert len(livekit.readings) == 2


# --- what is beside masked answers ------------------------------------------------------------------------

OPERATOR = AllRooms()
NEIGHBOURS: list[tuple[Scope, str, bool]] = [
    (ACME, "absent", True),
    (ACME, "foreign", True),
    (ACME, "ownerless", True),
    (ACME, "own", False),
    (ACME, "own, too", False),
    (GLOBEX, "foreign", False),
    (GLOBEX, "own", True),
    (OPERATOR, "absent", True),
    (OPERATOR, "foreign", False),
    (OPERATOR, "ownerless", False),
]


@pytest.fixture
def livekit() -> HeldLiveKit:
    return HeldLiveKit(
        room("own", "acme"), room("own, too", "acme"), room("foreign", "globex"), room("ownerless")
    )


def asks(named: NamedRooms, scope: Scope, name: str) -> tuple[Asker, "asyncio.Task[OwnedRoom | None]"]:
    asker = Asker(scope)
    return asker, asyncio.create_task(named.find(name, asker))


@pytest.mark.parametrize(("scope", "name", "masked"), NEIGHBOURS)
async def test_a_room_is_beside_a_masked_one_if_anybody_who_asked_in_the_same_question_may_not_see_theirs(
    livekit: HeldLiveKit, scope: Scope, name: str, masked: bool
) -> None:
    named = NamedRooms(livekit, owner_of)
    asker, own = asks(named, ACME, "own")
    _, neighbour = asks(named, scope, name)
    (await livekit.until(1)).land()
    await asyncio.gather(own, neighbour)
    assert asker.beside_masked is masked


async def test_what_waited_for_the_end_of_a_masked_question_is_beside_it_until_nobody_waits(
    livekit: HeldLiveKit,
) -> None:
    named = NamedRooms(livekit, owner_of)
    _, masked = asks(named, ACME, "foreign")
    await livekit.until(1)
    tasks: list[asyncio.Task[OwnedRoom | None]] = [masked]
    askers: list[Asker] = []
    for number in (1, 2):
        asker, task = asks(named, ACME, "own")
        askers.append(asker)
        tasks.append(task)
        await asyncio.sleep(0)
        livekit.readings[number - 1].land()
        await livekit.until(number + 1)
    livekit.readings[2].land()
    await asyncio.gather(*tasks)
    await asyncio.sleep(0)
    assert [asker.beside_masked for asker in askers] == [True, True]
    idle, task = asks(named, OPERATOR, "own")
    (await livekit.until(4)).land()
    await task
    assert not idle.beside_masked


async def learnt(named: NamedRooms, livekit: HeldLiveKit, scope: Scope, name: str) -> None:
    """Asks for this room once, alone."""
    task = asyncio.create_task(named.find(name, Asker(scope)))
    (await livekit.until(len(livekit.readings) + 1)).land()
    await task


async def test_who_looks_for_rooms_that_are_not_there_shares_no_question_with_those_who_ask_for_theirs(
    livekit: HeldLiveKit,
) -> None:
    named = NamedRooms(livekit, owner_of)
    await learnt(named, livekit, ACME, "own")
    asker, own = asks(named, ACME, "own")
    others = [asks(named, GLOBEX, name)[1] for name in ("absent", "own", "ownerless")]
    await livekit.until(3)
    assert {reading.about for reading in livekit.readings[1:]} == {("own",), ("absent", "own", "ownerless")}
    for reading in livekit.readings:
        reading.land()
    await asyncio.gather(own, *others)
    assert not asker.beside_masked


async def test_absent_foreign_and_ownerless_names_share_a_question_whoever_knows_them(
    livekit: HeldLiveKit,
) -> None:
    named = NamedRooms(livekit, owner_of)
    for scope, name in ((GLOBEX, "foreign"), (OPERATOR, "foreign"), (OPERATOR, "ownerless")):
        await learnt(named, livekit, scope, name)
    known = len(livekit.readings)
    tasks = [asks(named, ACME, name)[1] for name in ("absent", "foreign", "ownerless")]
    (await livekit.until(known + 1)).land()
    assert found(await asyncio.gather(*tasks)) == [None, "foreign", "ownerless"]
    assert [reading.about for reading in livekit.readings[known:]] == [("absent", "foreign", "ownerless")]


async def test_what_a_tenant_is_shown_while_it_looks_for_others_is_beside_them(
    livekit: HeldLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    named = NamedRooms(livekit, owner_of)
    await learnt(named, livekit, ACME, "own")
    _, search = asks(named, ACME, "foreign")
    own_asker, own = asks(named, ACME, "own")
    own_reading, search_reading = sorted(
        (await livekit.until(3), livekit.readings[1]), key=lambda r: r.about != ("own",)
    )
    own_reading.land()
    await own
    assert own_asker.beside_masked, "the search is under way"
    search_reading.land()
    await search
    for passed, beside in ((0.005, True), (0.1, False)):
        now += passed
        asker, own = asks(named, ACME, "own")
        (await livekit.until(len(livekit.readings) + 1)).land()
        await own
        assert asker.beside_masked is beside


@pytest.mark.parametrize("leaves", [True, False], ids=["the caller leaves", "LiveKit fails"])
async def test_a_search_without_an_answer_counts_too(livekit: HeldLiveKit, leaves: bool) -> None:
    named = NamedRooms(livekit, owner_of)
    await learnt(named, livekit, ACME, "own")
    asker, own = asks(named, ACME, "own")
    _, search = asks(named, ACME, "foreign")
    readings = {reading.about: reading for reading in (await livekit.until(3), livekit.readings[1])}
    if leaves:
        search.cancel()
    else:
        readings["foreign",].land(LiveKitUnavailable("down"))
    await asyncio.wait({search})
    readings["own",].land()
    await own
    assert asker.beside_masked


async def test_a_name_that_is_not_its_askers_any_more_goes_with_the_others(livekit: HeldLiveKit) -> None:
    named = NamedRooms(livekit, owner_of)
    await learnt(named, livekit, ACME, "own")
    livekit.rooms["own"] = room("own", "globex", sid="RM_2")
    await learnt(named, livekit, ACME, "own")
    known = len(livekit.readings)
    tasks = [asks(named, ACME, name)[1] for name in ("absent", "own")]
    (await livekit.until(known + 1)).land()
    await asyncio.gather(*tasks)
    assert [reading.about for reading in livekit.readings[known:]] == [("absent", "own")]


async def test_a_name_that_livekit_begins_to_fail_at_goes_with_the_others(livekit: HeldLiveKit) -> None:
    named = NamedRooms(livekit, owner_of)
    await learnt(named, livekit, ACME, "own")
    asker, own = asks(named, ACME, "own")
    (await livekit.until(2)).land(LiveKitFailed("a corrupt record"))
    await asyncio.wait({own})
    assert isinstance(own.exception(), LiveKitFailed)
    assert asker.beside_masked
    tasks = [asks(named, ACME, name)[1] for name in ("absent", "own")]
    (await livekit.until(3)).land()
    await asyncio.gather(*tasks)
    assert livekit.readings[2].about == ("absent", "own")


async def test_so_many_names_are_known_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.named_rooms._MOST_KNOWN", 2)
    named = NamedRooms(RecordedLiveKit(*(room(name, "acme") for name in "abc")), owner_of)
    for name in "abc":
        await named.find(name, Asker(ACME))
    assert [name for _, name in named._known] == ["b", "c"]


async def test_who_leaves_while_the_question_is_asked_has_asked_it(livekit: HeldLiveKit) -> None:
    named = NamedRooms(livekit, owner_of)
    asker, own = asks(named, ACME, "own")
    _, neighbour = asks(named, ACME, "foreign")
    reading = await livekit.until(1)
    neighbour.cancel()
    await asyncio.wait({neighbour})
    reading.land()
    await own
    assert asker.beside_masked


async def test_who_leaves_before_the_question_is_asked_has_not_asked_it(livekit: HeldLiveKit) -> None:
    named = NamedRooms(livekit, owner_of)
    asker, own = asks(named, ACME, "own")
    _, neighbour = asks(named, GLOBEX, "absent")
    await asyncio.sleep(0)
    neighbour.cancel()
    (await livekit.until(1)).land()
    await own
    assert livekit.readings[0].about == ("own",)
    assert not asker.beside_masked


async def test_what_a_question_that_was_given_up_did_not_come_to_say_counts_as_masked(
    livekit: HeldLiveKit,
) -> None:
    named = NamedRooms(livekit, owner_of)
    _, neighbour = asks(named, ACME, "own, too")
    await livekit.until(1)
    asker, own = asks(named, ACME, "own")
    await asyncio.sleep(0)
    neighbour.cancel()
    (await livekit.until(2)).land()
    await own
    assert asker.beside_masked


async def test_a_name_that_livekit_fails_at_counts_as_masked() -> None:
    named = NamedRooms(Picky({"7": LiveKitFailed("a corrupt record")}), owner_of)
    asker, own = asks(named, ACME, "1")
    _, neighbour = asks(named, ACME, "7")
    await asyncio.wait({own, neighbour})
    assert own.exception() is None
    assert isinstance(neighbour.exception(), LiveKitFailed)
    assert asker.beside_masked


async def test_what_was_said_is_let_go_while_the_call_still_waits_for_its_time() -> None:
    class Kept(str):
        """An owner that can be looked for."""

    owners: weakref.WeakSet[Kept] = weakref.WeakSet()

    def kept_owner_of(_metadata: str) -> Owner:
        owners.add(owner := Kept("globex"))
        return TenantId(owner)

    named = NamedRooms(RecordedLiveKit(room("foreign", "globex")), kept_owner_of)
    asker = Asker(ACME)
    assert await named.find("foreign", asker) is not None
    await asyncio.sleep(0)
    gc.collect()
    assert len(owners) == 0
    assert asker.beside_masked


class Picky(RecordedLiveKit):
    """Fails at every question that names one of these rooms."""

    def __init__(self, failures: dict[str, Exception]) -> None:
        super().__init__(*(room(str(number), "acme") for number in range(64)))
        self.failing = failures

    async def list_rooms_named(self, names: Collection[str]) -> list[bytes]:
        self._ask("rooms", *names)
        for name in names:
            if name in self.failing:
                raise self.failing[name]
        return [self.rooms[name].SerializeToString() for name in names if name in self.rooms]


async def test_a_name_that_livekit_fails_at_never_fails_its_neighbours() -> None:
    livekit = Picky({"7": LiveKitFailed("a corrupt record"), "absent": LiveKitFailed("odd")})
    named = NamedRooms(livekit, owner_of)
    names = [*map(str, range(64)), "absent", "none"]
    answers = await asyncio.gather(*(named.find(name, Asker(ACME)) for name in names), return_exceptions=True)
    failed = {name for name, answer in zip(names, answers, strict=True) if isinstance(answer, LiveKitFailed)}
    assert failed == {"7", "absent"}
    good = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert found(good) == [*(str(number) for number in range(64) if number != 7), None]
    assert len(livekit.asked) < 2 * len(names)


@pytest.mark.parametrize("failure", [LiveKitUnavailable, LiveKitTimedOut, LiveKitRefused])
async def test_a_failure_that_is_about_no_room_is_not_asked_about_again(failure: type[Exception]) -> None:
    livekit = Picky({"7": failure("down")})
    named = NamedRooms(livekit, owner_of)
    answers = await asyncio.gather(
        *(named.find(str(number), Asker(ACME)) for number in range(64)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {failure}
    assert len(livekit.asked) == 1


async def test_where_livekit_fails_at_everything_no_name_costs_more_than_two_questions() -> None:
    livekit = Picky({str(number): LiveKitFailed("broken") for number in range(64)})
    named = NamedRooms(livekit, owner_of)
    answers = await asyncio.gather(
        *(named.find(str(number), Asker(ACME)) for number in range(64)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {LiveKitFailed}
    assert len(livekit.asked) == 127


class Odd(RecordedLiveKit):
    """Answers every question by name with these rooms."""

    def __init__(self, *answer: Room) -> None:
        super().__init__()
        self.answer = answer

    async def list_rooms_named(self, names: Collection[str]) -> list[bytes]:
        self._ask("rooms", *names)
        return [room.SerializeToString() for room in self.answer]


async def test_rooms_that_were_not_asked_for_are_ignored() -> None:
    named = NamedRooms(Odd(room("b", "acme"), room("A", "acme"), room("a ", "acme")), owner_of)
    assert await named.find("a", Asker(ACME)) is None
    named = NamedRooms(Odd(room("b"), room("a", "acme")), owner_of)
    assert await named.find("a", Asker(ACME)) == OwnedRoom(room("a", "acme"), owner_of('{"auth_id": "acme"}'))


async def test_two_rooms_of_one_name_are_no_answer() -> None:
    named = NamedRooms(Odd(room("a", "acme"), room("a", "acme")), owner_of)
    with pytest.raises(LiveKitFailed):
        await named.find("a", Asker(ACME))


async def test_one_name_with_two_rooms_leaves_the_others_alone() -> None:
    class Twice(RecordedLiveKit):
        async def list_rooms_named(self, names: Collection[str]) -> list[bytes]:
            records = await super().list_rooms_named(names)
            return records + records[:1] if "a" in names else records

    named = NamedRooms(Twice(room("a"), room("b"), room("c")), owner_of)
    answers = await asyncio.gather(*(named.find(name, Asker(ACME)) for name in "abc"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LiveKitFailed, OwnedRoom, OwnedRoom]


def test_names_are_compared_code_point_for_code_point() -> None:
    assert by_asked_name(["caf\u00e9"], ["cafe\u0301", "caf\u00e9", "CAF\u00c9"], str) == {
        "caf\u00e9": "caf\u00e9"
    }


async def test_what_may_be_masked_is_looked_at_only_when_that_holds_up_no_masked_answer() -> None:
    seen: list[str] = []

    def seen_owner_of(metadata: str) -> Owner:
        seen.append("looked")
        return owner_of(metadata)

    async def undisturbed() -> None:
        seen.append("waited")

    livekit = RecordedLiveKit(room("a", "acme"), room("b", "globex"))
    named = NamedRooms(livekit, seen_owner_of, undisturbed)
    await asyncio.gather(*(named.find(name, Asker(ACME)) for name in ("a", "b", "absent")))
    assert seen == ["waited", "looked", "waited", "looked", "waited"]
    seen.clear()
    await named.find("absent", Asker(ACME))
    assert seen == ["waited"]
    seen.clear()
    await named.find("a", Asker(ACME))
    assert seen == ["looked"], "an own room waits for nobody"
