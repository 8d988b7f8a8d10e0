"""Lists at the price of a tenant's own rooms: names from before, each verified by a reading of this call."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from service import candidates
from service.auth.principal import AllRooms, OneTenant, TenantId
from service.consistency import Consistency
from service.directory import Directory
from service.errors import LiveKitFailed, LiveKitUnavailable
from service.ownership import owner_of
from service.servicer import room_summary
from tests.service.held_livekit import HeldLiveKit
from tests.service.recorded_rooms import RecordedLiveKit, room

ACME = OneTenant(TenantId("acme"))
LATE, FULL = Consistency.MINIMIZE_LATENCY, Consistency.FULL
NEVER = 3_600.0


@asynccontextmanager
async def directory_on(
    livekit: RecordedLiveKit | HeldLiveKit, interval: float = NEVER
) -> AsyncIterator[Directory]:
    directory = Directory(livekit, owner_of, room_summary, interval)
    try:
        yield directory
    finally:
        await directory.close()


async def names(directory: Directory, scope: OneTenant | AllRooms = ACME) -> Sequence[str]:
    return [room.name for room in await directory.rooms(scope, LATE)]


async def test_a_cold_index_means_a_full_scan_and_the_next_list_asks_by_name() -> None:
    livekit = RecordedLiveKit(room("b", "acme"), room("a", "acme"), room("g", "globex"), room("o"))
    async with directory_on(livekit) as directory:
        assert await names(directory) == ["a", "b"]
        assert await names(directory) == ["a", "b"]
        assert livekit.asked == [("all rooms", ()), ("rooms", ("a", "b"))]


async def test_what_was_removed_recreated_or_given_away_is_never_shown_as_it_was() -> None:
    livekit = RecordedLiveKit(*(room(name, "acme") for name in "abcd"))
    async with directory_on(livekit) as directory:
        await names(directory)
        del livekit.rooms["a"]
        livekit.put(room("b", "globex"))
        livekit.put(room("c"))
        livekit.put(room("d", "acme", sid="RM_2", num_participants=7))
        (shown,) = await directory.rooms(ACME, LATE)
        assert shown.summary == room_summary(livekit.rooms["d"])


async def test_a_room_that_came_may_be_missing_until_any_full_scan() -> None:
    livekit = RecordedLiveKit(room("a", "acme"), room("g", "globex"))
    async with directory_on(livekit) as directory:
        await names(directory)
        livekit.put(room("b", "acme"))
        livekit.put(room("g", "acme"))
        assert await names(directory) == ["a"]
        await directory.rooms(OneTenant(TenantId("globex")), FULL)
        assert await names(directory) == ["a", "b", "g"]


async def test_a_tenant_without_rooms_never_asks_with_an_empty_list_of_names() -> None:
    livekit = RecordedLiveKit(room("g", "globex"))
    async with directory_on(livekit) as directory:
        for _ in range(3):
            assert await names(directory) == []
        assert livekit.asked == [("all rooms", ())]


async def test_who_sees_all_rooms_gets_a_full_scan() -> None:
    livekit = RecordedLiveKit(room("a", "acme"), room("o"))
    async with directory_on(livekit) as directory:
        for _ in range(2):
            assert await names(directory, AllRooms()) == ["a", "o"]
        assert livekit.asked == [("all rooms", ())] * 2


async def test_very_many_rooms_are_verified_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_MOST_NAMES", 10)
    livekit = RecordedLiveKit(*(room(f"{number:02}", "acme") for number in range(25)))
    async with directory_on(livekit) as directory:
        await names(directory)
        del livekit.rooms["13"]
        assert await names(directory) == [f"{number:02}" for number in range(25) if number != 13]
        assert [len(asked) for _, asked in livekit.asked] == [0, 10, 10, 5]


async def test_callers_of_one_tenant_share_a_verification_that_began_after_they_came() -> None:
    livekit = HeldLiveKit(room("a", "acme"), room("b", "acme"))
    async with directory_on(livekit) as directory:
        cold = asyncio.create_task(names(directory))
        (await livekit.until(1)).land()
        await cold
        first = asyncio.create_task(names(directory))
        in_the_air = await livekit.until(2)
        late = [asyncio.create_task(names(directory)) for _ in range(20)]
        await asyncio.sleep(0)
        del livekit.rooms["a"]
        in_the_air.land()
        assert await first == ["a", "b"]
        (await livekit.until(3)).land()
        assert await asyncio.gather(*late) == [["b"]] * 20
        assert [reading.question for reading in livekit.readings] == ["all rooms", "rooms", "rooms"]


async def test_a_failed_verification_is_the_answer_and_never_a_shorter_list() -> None:
    livekit = RecordedLiveKit(room("a", "acme"))
    async with directory_on(livekit) as directory:
        await names(directory)
        livekit.failures[2] = LiveKitFailed("odd")
        with pytest.raises(LiveKitFailed):
            await names(directory)
        assert await names(directory) == ["a"]


async def test_while_lists_are_asked_for_all_rooms_are_read_in_the_background() -> None:
    livekit = HeldLiveKit(room("a", "acme"))
    async with directory_on(livekit, interval=0.01) as directory:
        first = asyncio.create_task(names(directory))
        (await livekit.until(1)).land()
        await first
        background = await livekit.until(2)  # nobody asked for it
        assert background.question == "all rooms"
        livekit.rooms["b"] = room("b", "acme")
        background.land(LiveKitUnavailable("down"))
        again = await livekit.until(3)  # and a failure does not end it
        assert again.question == "all rooms"
        again.land()
        await livekit.until(4)
        assert directory._scans.latest is not None
        assert len(directory._scans.latest.index) == 2


async def test_names_from_a_reading_that_is_too_old_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    for module in ("candidates", "scans"):
        monkeypatch.setattr(f"service.{module}.monotonic", lambda: now)
    livekit = RecordedLiveKit(room("a", "acme"))
    async with directory_on(livekit, interval=10) as directory:
        await names(directory)
        now = 20
        await names(directory)
        now = 20.1
        livekit.put(room("b", "acme"))
        assert await names(directory) == ["a", "b"]
        assert [question for question, _ in livekit.asked] == ["all rooms", "rooms", "all rooms"]


@pytest.mark.parametrize(("few", "late"), [(250, ["acme", "globex", "nobody"]), (0, ["acme", "acme"])])
async def test_names_that_grow_too_old_before_they_are_used_cost_one_whole_reading_also_where_it_fails(
    monkeypatch: pytest.MonkeyPatch, few: int, late: Sequence[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("service.candidates._FEW_NAMES", few)
    for module in ("candidates", "scans"):
        monkeypatch.setattr(f"service.{module}.monotonic", lambda: now)
    livekit = HeldLiveKit(room("a", "acme"), room("b", "globex"))
    async with directory_on(livekit, interval=10) as directory, asyncio.timeout(10):
        warming = asyncio.create_task(names(directory))
        (await livekit.until(1)).land()
        await warming
        for failure in (None, LiveKitFailed("odd")):
            count = len(livekit.readings)
            early = asyncio.create_task(names(directory))
            in_the_air = await livekit.until(count + 1)
            waiting = [asyncio.create_task(names(directory, OneTenant(TenantId(who)))) for who in late]
            await asyncio.sleep(0)
            now += 20.1
            in_the_air.land()
            await early
            (await livekit.until(count + 2)).land(failure)
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            if failure is None:
                assert outcomes == [{"acme": ["a"], "globex": ["b"]}.get(who, []) for who in late]
            else:
                assert {type(outcome) for outcome in outcomes} == {LiveKitFailed}
            questions = [reading.question for reading in livekit.readings[count:]]
            assert questions == ["rooms", "all rooms"]


class Slow(RecordedLiveKit):
    """Takes so many seconds for a whole reading, by a clock of its own, and notes when each began."""

    def __init__(self, seconds: float) -> None:
        super().__init__(room("a", "acme"))
        self.seconds = seconds
        self.now = 0.0
        self.began: list[float] = []

    async def list_all_rooms(self) -> list[bytes]:
        self.began.append(self.now)
        self.now += self.seconds
        return await super().list_all_rooms()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    livekit = Slow(seconds=2)
    for module in ("candidates", "scans"):
        monkeypatch.setattr(f"service.{module}.monotonic", lambda: livekit.now)
    return livekit


# Twice the pause, which is nine times the reading's length or the interval, and the length itself.
@pytest.mark.parametrize(("interval", "most_age"), [(1, 40), (30, 64)])
async def test_names_are_used_for_longer_the_longer_a_reading_takes(
    slow: Slow, interval: float, most_age: float
) -> None:
    async with directory_on(slow, interval) as directory:
        await directory.rooms(ACME, FULL)
        directory._candidates._background = asyncio.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
        for age in (most_age, most_age + 0.1):
            slow.now = age
            assert await names(directory) == ["a"]
        assert [question for question, _ in slow.asked] == ["all rooms", "rooms", "all rooms"]


@pytest.mark.parametrize(("interval", "began"), [(1, [0, 20, 40, 60]), (30, [0, 32, 64])])
async def test_readings_in_the_background_take_a_tenth_of_the_time_at_most(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, interval: float, began: list[float]
) -> None:
    class Asyncio:
        """The module, with a sleep by that clock."""

        def __getattr__(self, name: str) -> object:
            return getattr(asyncio, name)

        async def sleep(self, seconds: float) -> None:
            slow.now += seconds
            await asyncio.sleep(0)

    async with directory_on(slow, interval) as directory:
        await directory.rooms(ACME, FULL)
        monkeypatch.setattr(candidates, "asyncio", Asyncio())
        await names(directory)
        background = directory._candidates._background
        assert background is not None
        async with asyncio.timeout(10):
            await background
        assert slow.began[: len(began)] == began


async def test_unused_the_readings_in_the_background_end() -> None:
    livekit = RecordedLiveKit(room("a", "acme"))
    async with directory_on(livekit, interval=0.01) as directory:
        await names(directory)
        directory._candidates._last_use -= 3_600
        background = directory._candidates._background
        assert background is not None
        async with asyncio.timeout(10):
            await background
        count = len(livekit.asked)
        await names(directory)
        assert directory._candidates._background is not background
        assert len(livekit.asked) == count + 1


async def test_tenants_that_come_together_share_one_question_and_each_sees_its_own() -> None:
    livekit = HeldLiveKit(*(room(f"{tenant}-{n}", tenant) for tenant in ("acme", "globex") for n in range(3)))
    async with directory_on(livekit) as directory:
        scopes = [OneTenant(TenantId(tenant)) for tenant in ("acme", "globex", "nobody")]
        warming = asyncio.create_task(names(directory))
        (await livekit.until(1)).land()
        await warming
        early = asyncio.create_task(names(directory))
        in_the_air = await livekit.until(2)
        late = [asyncio.create_task(names(directory, scope)) for scope in scopes * 5]
        await asyncio.sleep(0)
        livekit.rooms["acme-1"] = room("acme-1", "globex")
        in_the_air.land()
        assert await early == ["acme-0", "acme-1", "acme-2"], "as of before it was given away"
        (await livekit.until(3)).land()
        # A room that came is missing, one that went is not shown; neither to its old owner nor to others.
        seen = [["acme-0", "acme-2"], ["globex-0", "globex-1", "globex-2"], []]
        assert await asyncio.gather(*late) == seen * 5
        assert len(livekit.readings) == 3


class Corrupt(RecordedLiveKit):
    """Fails at every question that names this room."""

    async def list_rooms_named(self, names: Collection[str]) -> list[bytes]:
        records = await super().list_rooms_named(names)
        if "acme-0" in names:
            raise LiveKitFailed("a corrupt record")
        return records


async def test_a_record_of_one_tenant_that_is_corrupt_fails_no_other_tenant() -> None:
    tenants = [f"tenant-{number}" for number in range(9)] + ["acme"]
    livekit = Corrupt(*(room(f"{tenant}-0", tenant) for tenant in tenants))
    async with directory_on(livekit) as directory:
        await directory.rooms(ACME, FULL)
        asking = (names(directory, OneTenant(TenantId(tenant))) for tenant in tenants)
        *others, acme = await asyncio.gather(*asking, return_exceptions=True)
        assert others == [[f"{tenant}-0"] for tenant in tenants[:-1]]
        assert isinstance(acme, LiveKitFailed)


async def test_a_tenant_with_many_rooms_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_FEW_NAMES", 2)
    livekit = HeldLiveKit(*(room(f"acme-{n}", "acme") for n in range(3)), room("globex-0", "globex"))
    async with directory_on(livekit) as directory:
        warming = asyncio.create_task(names(directory))
        (await livekit.until(1)).land()
        await warming
        many = asyncio.create_task(names(directory))
        large = await livekit.until(2)
        few = asyncio.create_task(names(directory, OneTenant(TenantId("globex"))))
        (await livekit.until(3)).land()
        assert await few == ["globex-0"]
        large.land()
        assert await many == ["acme-0", "acme-1", "acme-2"]


async def test_a_question_holds_no_more_names_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_MOST_NAMES", 4)
    tenants = [f"tenant-{number}" for number in range(5)]
    livekit = RecordedLiveKit(*(room(f"{tenant}-{n}", tenant) for tenant in tenants for n in range(3)))
    async with directory_on(livekit) as directory:
        await directory.rooms(ACME, FULL)
        shown = await asyncio.gather(*(names(directory, OneTenant(TenantId(tenant))) for tenant in tenants))
        assert shown == [[f"{tenant}-{n}" for n in range(3)] for tenant in tenants]
        assert sorted(len(asked) for what, asked in livekit.asked if what == "rooms") == [3] * 5
