"""A room that changes hands while it is asked for never shows one tenant another's participants."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import pytest
from livekit.protocol import models

from tests.end_to_end.callers import Callers
from tests.end_to_end.conftest import running
from tests.support.full_counts import FullCounts
from tests.support.livekit_double import LiveKitDouble
from tests.support.participants import Participants
from tests.support.real_livekit import RealLiveKit
from tests.support.redis_server import RedisServer
from tests.wall.asking import ACME_ID, RIVAL, Ask, doors
from tests.wall.lives import Details, foreign_marks, mark, owned_by, people_of
from tests.wall.raced_rooms import GIVEN_AWAY, GIVEN_TO_READER, Plan, RacedRooms, State, all_plans

AT_ONCE = 48
TITLE = "Races between the upstream calls of one answer"
COLUMNS = ("Against", "Races", "Answered", "Masked", "Foreign participants")


@pytest.fixture
async def raced(
    livekit_double: LiveKitDouble, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callers]:
    logs = tmp_path_factory.mktemp("raced")
    async with running(livekit_double, logs, {"AUTH_REQUIRED": "true"}) as callers:
        yield callers


async def side_by_side(race: Callable[[], Awaitable[None]], at_once: int) -> None:
    """Runs so many of them at once, until each has raised StopAsyncIteration."""

    async def racer() -> None:
        try:
            while True:
                await race()
        except StopAsyncIteration:
            pass

    async with asyncio.TaskGroup() as racers:
        for _ in range(at_once):
            racers.create_task(racer())


@pytest.mark.wall
async def test_every_order_of_changes_and_upstream_calls_has_its_answer(
    raced: Callers, livekit_double: LiveKitDouble, http_session: aiohttp.ClientSession, wall: FullCounts
) -> None:
    cases = list(itertools.product(all_plans(), doors(raced, http_session).items()))
    races = wall.count(70_000, short=2 * len(cases))
    rooms = RacedRooms(livekit_double)
    counts: Counter[str] = Counter()
    wrong: list[tuple[Plan, str, Details | None]] = []
    numbers = iter(range(races))

    async def race() -> None:
        number = next(numbers, None)
        if number is None:
            raise StopAsyncIteration
        plan, (door, ask) = cases[number % len(cases)]
        name = f"raced-{number:07}"
        rooms.begin(name, plan.states())
        details = await ask(name, plan.reader)
        rooms.end(name)
        counts["answered" if details else "masked"] += 1
        if plan.goes_and_comes_back():
            counts["back"] += 1
        elif (details is not None) != plan.is_answered() or (details and foreign_marks(details, plan.reader)):
            wrong.append((plan, door, details))
        if number % 100 == 0:
            livekit_double.forget()
        wall.progress("planned races", number, races)

    await side_by_side(race, AT_ONCE)
    row = (
        "the double, every order of changes and calls", f"{races - counts['back']:,}",
        f"{counts['answered'] - counts['back']:,}", f"{counts['masked']:,}", len(wrong),
    )  # fmt: skip
    wall.add(TITLE, COLUMNS, row)
    assert wrong == []
    assert counts["answered"] > 0
    assert counts["masked"] > 0


def test_the_one_order_that_no_look_can_see_is_to_be_given_away_and_back() -> None:
    unseen = [plan for plan in all_plans() if plan.goes_and_comes_back()]
    assert [plan.moves for plan in unseen] == [(GIVEN_AWAY, GIVEN_TO_READER)] * 2
    assert [plan.first for plan in unseen] == [State(reader, 1) for reader in RIVAL]


def ever_another_owner() -> Iterator[State]:
    """A room that is recreated or given away after every call; each life is given away once at most."""
    owner = ACME_ID
    for life in itertools.count(1):
        yield State(owner, life)
        owner = RIVAL[owner]
        if random.random() < 0.5:
            yield State(owner, life)
            owner = RIVAL[owner]


@pytest.mark.wall
async def test_rivals_who_ask_for_one_room_at_once_see_their_own_lives_of_it_alone(
    raced: Callers, livekit_double: LiveKitDouble, http_session: aiohttp.ClientSession, wall: FullCounts
) -> None:
    asks = list(doors(raced, http_session).values())
    races = wall.count(30_000, short=600)
    rooms = RacedRooms(livekit_double)
    counts: Counter[str] = Counter()
    foreign: list[Details] = []
    numbers = iter(range(races // (2 * len(asks))))

    async def race() -> None:
        number = next(numbers, None)
        if number is None:
            raise StopAsyncIteration
        name = f"rivals-{number:07}"
        rooms.begin(name, ever_another_owner())
        readers = [(ask, tenant) for ask in asks for tenant in RIVAL]
        random.shuffle(readers)
        answers = await asyncio.gather(*(ask(name, tenant) for ask, tenant in readers))
        rooms.end(name)
        for (_, tenant), details in zip(readers, answers, strict=True):
            counts["answered" if details else "masked"] += 1
            if details and foreign_marks(details, tenant):
                foreign.append(details)
        if number % 50 == 0:
            livekit_double.forget()
        wall.progress("races of rivals", counts.total(), races)

    await side_by_side(race, AT_ONCE // 6)
    row = (
        "the double, two tenants at once, a change after every call", f"{counts.total():,}",
        f"{counts['answered']:,}", f"{counts['masked']:,}", len(foreign),
    )  # fmt: skip
    wall.add(TITLE, COLUMNS, row)
    assert foreign == []
    assert counts["masked"] > 0


class Polled:
    """Readers of both tenants who ask for rooms without a pause, over all doors, until they are stopped.

    Args:
        asks: the doors.
        lives: the number of changes of each room so far.
    """

    def __init__(self, asks: list[Ask], lives: Counter[str]) -> None:
        self.counts: Counter[str] = Counter()
        self.foreign: list[Details] = []
        self._asks = asks
        self._lives = lives
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    async def poll(self, name: str) -> None:
        """Polls with all readers at once."""
        async with asyncio.TaskGroup() as readers:
            for ask, tenant in itertools.product(self._asks, RIVAL):
                readers.create_task(self._reader(name, ask, tenant))

    async def _reader(self, name: str, ask: Ask, tenant: str) -> None:
        while not self._stopped:
            before = self._lives[name]
            details = await ask(name, tenant)
            self.counts["races"] += self._lives[name] != before
            self.counts["answered" if details else "masked"] += 1
            self.counts["people"] += details.people if details else 0
            if details and foreign_marks(details, tenant):
                self.foreign.append(details)

    def row(self, against: str) -> tuple[str, str, str, str, int]:
        """A row of `COLUMNS`."""
        counts = self.counts
        return (
            against, f"{counts['races']:,}", f"{counts['answered']:,}", f"{counts['masked']:,}",
            len(self.foreign),
        )  # fmt: skip


@pytest.mark.wall
async def test_rooms_that_change_hands_in_the_store_of_a_real_livekit(
    walled_on_redis: Callers, redis_server: RedisServer, http_session: aiohttp.ClientSession, wall: FullCounts
) -> None:
    names = [f"stored-{number}" for number in range(4)]
    lives: Counter[str] = Counter()
    polled = Polled(list(doors(walled_on_redis, http_session).values()), lives)
    seconds = wall.count(60, short=3)
    until = time.monotonic() + seconds

    async def change_hands(name: str) -> None:
        for state in ever_another_owner():
            assert state.owner is not None
            sid = f"RM_{state.life}_{name}"
            room = models.Room(
                name=name,
                sid=sid,
                metadata=owned_by(state.owner),
                creation_time=1_700_000_000,
                num_participants=2,
            )
            await redis_server.replace_room(room, people_of(state.owner, sid))
            lives[name] += 1
            await asyncio.sleep(random.uniform(0, 0.004))
            wall.progress("seconds of races on Redis", seconds - int(until - time.monotonic()), seconds)
            if time.monotonic() > until:
                return

    async with asyncio.TaskGroup() as readers:
        for name in names:
            readers.create_task(polled.poll(name))
        await asyncio.gather(*map(change_hands, names))
        polled.stop()
    await redis_server.remove_rooms(names)
    wall.add(TITLE, COLUMNS, polled.row("a real LiveKit, rooms rewritten in its Redis"))
    assert polled.foreign == []
    assert polled.counts["races"] > 0
    assert polled.counts["people"] > 0


@pytest.mark.wall
async def test_rooms_that_real_participants_join_and_their_owners_recreate_or_give_away(
    walled_on_redis: Callers,
    real_livekit_on_redis: RealLiveKit,
    participants_on_redis: Participants,
    http_session: aiohttp.ClientSession,
    wall: FullCounts,
) -> None:
    name = "joined"
    lives: Counter[str] = Counter()
    polled = Polled(list(doors(walled_on_redis, http_session).values()), lives)
    seconds = wall.count(60, short=4)
    until = time.monotonic() + seconds

    async def change_hands() -> None:
        tenant = ACME_ID
        for life in itertools.count(1):
            identity = f"{mark(tenant)} {life}"
            if life % 2:
                await real_livekit_on_redis.create_room(name, metadata=owned_by(tenant))
            else:
                await real_livekit_on_redis.set_metadata(name, owned_by(tenant))
            lives[name] += 1
            await participants_on_redis.join(name, identity, metadata=f'{{"life":"{life}"}}')
            wall.progress(
                "seconds of races of real participants", seconds - int(until - time.monotonic()), seconds
            )
            if life % 2:
                # Nobody takes part in what is given away; what is deleted loses its participants itself.
                await participants_on_redis.leave(name, identity)
            else:
                await real_livekit_on_redis.delete_room(name)
                await participants_on_redis.leave(name, identity)
            lives[name] += 1
            tenant = RIVAL[tenant]
            if time.monotonic() > until and not life % 2:
                return

    async with asyncio.TaskGroup() as readers:
        readers.create_task(polled.poll(name))
        try:
            await change_hands()
        finally:
            polled.stop()
    wall.add(TITLE, COLUMNS, polled.row("a real LiveKit, real participants"))
    assert polled.foreign == []
    assert polled.counts["people"] > 0
