"""Who waits for which run of a shared question, and what becomes of it when callers leave or it fails."""

import asyncio
import contextvars
from collections import defaultdict
from traceback import walk_tb

import pytest

from service.flights import FlightFailed, Flights


class Runs:
    """Records each run when it begins; a test lands them one by one."""

    def __init__(self) -> None:
        self.begun: dict[str, list[asyncio.Future[str]]] = defaultdict(list)
        self.cancelled: list[str] = []
        self.changed = asyncio.Event()

    async def fly(self, key: str) -> str:
        run: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.begun[key].append(run)
        self.changed.set()
        try:
            return await run
        except asyncio.CancelledError:
            self.cancelled.append(key)
            self.changed.set()
            raise

    async def until(self, key: str, count: int) -> asyncio.Future[str]:
        """Waits until the run of this number has begun."""
        while len(self.begun[key]) < count:
            self.changed.clear()
            await self.changed.wait()
        return self.begun[key][count - 1]

    async def until_cancelled(self, count: int) -> None:
        while len(self.cancelled) < count:
            self.changed.clear()
            await self.changed.wait()


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def flights(runs: Runs) -> Flights[str, str]:
    return Flights(runs.fly)


async def test_callers_that_come_before_a_run_begins_share_it(runs: Runs, flights: Flights[str, str]) -> None:
    callers = [asyncio.ensure_future(flights.join("a")) for _ in range(5)]
    (await runs.until("a", 1)).set_result("one")
    assert await asyncio.gather(*callers) == ["one"] * 5
    assert len(runs.begun["a"]) == 1


async def test_a_caller_that_comes_during_a_run_gets_the_next_one(
    runs: Runs, flights: Flights[str, str]
) -> None:
    early = asyncio.ensure_future(flights.join("a"))
    first = await runs.until("a", 1)
    late = [asyncio.ensure_future(flights.join("a")) for _ in range(3)]
    await asyncio.sleep(0)
    assert len(runs.begun["a"]) == 1, "the next run waits for this one"
    first.set_result("before they came")
    (await runs.until("a", 2)).set_result("after they came")
    assert await early == "before they came"
    assert await asyncio.gather(*late) == ["after they came"] * 3


async def test_different_keys_do_not_wait_for_each_other(runs: Runs, flights: Flights[str, str]) -> None:
    a, b = asyncio.ensure_future(flights.join("a")), asyncio.ensure_future(flights.join("b"))
    (await runs.until("b", 1)).set_result("b")
    assert await b == "b"
    (await runs.until("a", 1)).set_result("a")
    assert await a == "a"


async def test_a_failure_is_shared_by_those_who_waited_and_by_nobody_after(
    runs: Runs, flights: Flights[str, str]
) -> None:
    waiting = [asyncio.ensure_future(flights.join("a")) for _ in range(2)]
    (await runs.until("a", 1)).set_exception(OSError("gone"))
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, OSError)
    after = asyncio.ensure_future(flights.join("a"))
    (await runs.until("a", 2)).set_result("back")
    assert await after == "back"


async def test_a_failure_remembers_only_those_frames_that_it_passed_for_its_own_caller(
    runs: Runs, flights: Flights[str, str]
) -> None:
    class Unlike(Exception):
        """Cannot be copied."""

        def __init__(self, one: str, other: str) -> None:
            super().__init__(one + other)

    async def ask() -> None:
        try:
            await flights.join("a")
        except Exception:
            await asyncio.sleep(0)  # as who waits for an even time
            raise

    async def caller() -> int:
        with pytest.raises((OSError, Unlike), match="gone") as raised:
            await ask()
        assert str(raised.value.__cause__) == "the cause"
        return len([*walk_tb(raised.value.__traceback__)])

    frames = []
    for number, failure in enumerate([OSError("gone"), Unlike("go", "ne")], 1):
        failure.__cause__ = ValueError("the cause")
        waiting = [asyncio.ensure_future(caller()) for _ in range(100)]
        (await runs.until("a", number)).set_exception(failure)
        frames.append(await asyncio.gather(*waiting))
    assert len(set(frames[0])) == 1


async def test_a_caller_that_leaves_takes_nothing_from_the_others(
    runs: Runs, flights: Flights[str, str]
) -> None:
    leaving, staying = (asyncio.ensure_future(flights.join("a")) for _ in range(2))
    run = await runs.until("a", 1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert runs.cancelled == []
    run.set_result("one")
    assert await staying == "one"


async def test_a_run_that_nobody_waits_for_is_cancelled_and_the_next_begins(
    runs: Runs, flights: Flights[str, str]
) -> None:
    leaving = asyncio.ensure_future(flights.join("a"))
    await runs.until("a", 1)
    next_one = asyncio.ensure_future(flights.join("a"))
    await asyncio.sleep(0)
    leaving.cancel()
    await runs.until_cancelled(1)
    (await runs.until("a", 2)).set_result("two")
    assert await next_one == "two"


async def test_a_run_left_by_all_before_it_began_never_begins(runs: Runs, flights: Flights[str, str]) -> None:
    staying = asyncio.ensure_future(flights.join("a"))
    first = await runs.until("a", 1)
    leaving = asyncio.ensure_future(flights.join("a"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    first.set_result("one")
    assert await staying == "one"
    assert len(runs.begun["a"]) == 1
    assert flights._boarding == {}


async def test_a_run_that_is_cancelled_from_within_fails_those_who_waited(flights: Flights[str, str]) -> None:
    async def cancelled(_key: str) -> str:
        raise asyncio.CancelledError

    with pytest.raises(FlightFailed):
        await Flights(cancelled).join("a")


async def test_a_run_sees_nothing_of_the_caller_that_began_it(flights: Flights[str, str]) -> None:
    caller = contextvars.ContextVar[str]("caller")

    async def look(_key: str) -> str:
        return caller.get("nobody")

    caller.set("somebody")
    assert await Flights(look).join("a") == "nobody"


async def test_nothing_is_kept_when_all_is_quiet(runs: Runs, flights: Flights[str, str]) -> None:
    for number in range(3):
        waiting = asyncio.ensure_future(flights.join(f"{number}"))
        (await runs.until(f"{number}", 1)).set_result("x")
        await waiting
    assert (flights._boarding, flights._in_the_air) == ({}, {})


async def test_a_patient_run_waits_for_callers_that_come_one_after_the_other(runs: Runs) -> None:
    flights = Flights(runs.fly, patient=True)
    callers = []
    for _ in range(5):
        callers.append(asyncio.ensure_future(flights.join("a")))
        for _ in range(3):
            await asyncio.sleep(0)
    (await runs.until("a", 1)).set_result("one")
    assert await asyncio.gather(*callers) == ["one"] * 5
    assert len(runs.begun["a"]) == 1


async def test_a_patient_run_does_not_wait_for_ever(runs: Runs) -> None:
    flights = Flights(runs.fly, patient=True)
    callers = []
    while not runs.begun["a"]:
        callers.append(asyncio.ensure_future(flights.join("a")))
        await asyncio.sleep(0)
        assert len(callers) < 1_000
    runs.begun["a"][0].set_result("one")
    (await runs.until("a", 2)).set_result("two")
    assert set(await asyncio.gather(*callers)) == {"one", "two"}


async def test_a_patient_run_that_all_have_left_before_it_began_never_begins(runs: Runs) -> None:
    flights = Flights(runs.fly, patient=True)
    leaving = asyncio.ensure_future(flights.join("a"))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    staying = asyncio.ensure_future(flights.join("a"))
    (await runs.until("a", 1)).set_result("one")
    assert await staying == "one"
    assert len(runs.begun["a"]) == 1
    assert (flights._boarding, flights._in_the_air) == ({}, {})


class Clock:
    """What `service.flights` takes for the time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    clock.seconds = 1.0
    monkeypatch.setattr("service.flights.perf_counter", clock)
    return clock


@pytest.fixture
def no_end_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those who were answered, all of them, end the wait for them."""
    monkeypatch.setattr("service.flights._STEPS", 10**9)
    monkeypatch.setattr("service.flights._QUIET_STEPS", 10**9)


Callers = list[asyncio.Task[str]]
Waves = tuple[asyncio.Future[str], Callers, Callers]


async def two_waves(runs: Runs, flights: Flights[str, str]) -> Waves:
    """The run of three callers, not landed yet, and two callers that came since."""
    early = [asyncio.ensure_future(flights.join("a")) for _ in range(3)]
    first = await runs.until("a", 1)
    late = [asyncio.ensure_future(flights.join("a")) for _ in range(2)]
    await asyncio.sleep(0)
    return first, early, late


@pytest.mark.usefixtures("no_end_of_patience")
async def test_who_is_answered_and_asks_again_shares_the_run_of_those_who_came_meanwhile(
    runs: Runs, clock: Clock
) -> None:
    flights = Flights(runs.fly, in_company=True)
    first, _early, late = await two_waves(runs, flights)
    clock.seconds += 0.1
    first.set_result("one")
    await asyncio.sleep(0.01)
    assert len(runs.begun["a"]) == 1, "it waits for the three"
    again = [asyncio.ensure_future(flights.join("a")) for _ in range(3)]
    (await runs.until("a", 2)).set_result("two")
    assert await asyncio.gather(*late, *again) == ["two"] * 5


@pytest.mark.usefixtures("no_end_of_patience")
async def test_callers_who_ask_again_one_after_the_other_share_one_run(runs: Runs, clock: Clock) -> None:
    flights = Flights(runs.fly, in_company=True)
    early = [asyncio.ensure_future(flights.join("a")) for _ in range(3)]
    first = await runs.until("a", 1)
    clock.seconds += 0.1
    first.set_result("one")
    await asyncio.gather(*early)
    again = [asyncio.ensure_future(flights.join("a"))]
    await asyncio.sleep(0.01)
    assert len(runs.begun["a"]) == 1, "it waits for the other two"
    again += [asyncio.ensure_future(flights.join("a")) for _ in range(2)]
    (await runs.until("a", 2)).set_result("two")
    assert await asyncio.gather(*again) == ["two"] * 3


@pytest.mark.usefixtures("no_end_of_patience")
async def test_a_caller_alone_waits_for_nobody(runs: Runs, clock: Clock) -> None:
    flights = Flights(runs.fly, in_company=True)
    for number in range(1, 4):
        caller = asyncio.ensure_future(flights.join("a"))
        run = await runs.until("a", number)
        clock.seconds += 0.1
        run.set_result(f"{number}")
        assert await caller == f"{number}"


async def test_who_comes_long_after_a_run_waits_for_nobody(
    runs: Runs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.flights._LONGEST_STEP", 1e6)
    flights = Flights(runs.fly, in_company=True)
    early = [asyncio.ensure_future(flights.join("a")) for _ in range(3)]
    first = await runs.until("a", 1)
    clock.seconds += 1e6
    first.set_result("one")
    await asyncio.gather(*early)
    clock.seconds += 1e6
    caller = asyncio.ensure_future(flights.join("a"))
    (await runs.until("a", 2)).set_result("two")
    assert await caller == "two"


async def test_those_who_came_meanwhile_do_not_wait_for_ever_for_who_was_answered(
    runs: Runs, clock: Clock
) -> None:
    flights = Flights(runs.fly, in_company=True)
    first, _early, late = await two_waves(runs, flights)
    clock.seconds += 0.1
    first.set_result("one")
    (await runs.until("a", 2)).set_result("two")
    assert await asyncio.gather(*late) == ["two"] * 2


async def test_after_a_short_run_nobody_is_waited_for(
    runs: Runs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.flights._STEPS", 10**9)
    flights = Flights(runs.fly, in_company=True)
    first, _early, late = await two_waves(runs, flights)
    clock.seconds += 0.001
    first.set_result("one")
    (await runs.until("a", 2)).set_result("two")
    assert await asyncio.gather(*late) == ["two"] * 2


@pytest.mark.usefixtures("no_end_of_patience")
async def test_a_run_that_nobody_waits_for_any_more_does_not_wait_for_others(
    runs: Runs, clock: Clock
) -> None:
    flights = Flights(runs.fly, in_company=True)
    first, _early, late = await two_waves(runs, flights)
    clock.seconds += 0.1
    first.set_result("one")
    await asyncio.sleep(0.01)
    for caller in late:
        caller.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    after = asyncio.ensure_future(flights.join("a"))
    (await runs.until("a", 2)).set_result("two")
    assert await after == "two"
    assert (flights._boarding, flights._in_the_air) == ({}, {})
