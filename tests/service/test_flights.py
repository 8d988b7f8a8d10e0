"""Who waits for which run of a shared question, and what becomes of it when callers leave or it fails."""

import asyncio
import contextvars
from collections import defaultdict

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
