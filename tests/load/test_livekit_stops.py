"""LiveKit is stopped in its tracks and resumed, or killed, under load: no answer is ever wrong or empty."""

import asyncio
import os
import random
import signal

import pytest

from tests.load.asking import Tally, asked_meanwhile, more_right, until
from tests.load.conftest import Stage
from tests.load.questions import made, stored
from tests.support.full_counts import FullCounts


async def more_refused(tally: Tally, more: int = 1) -> None:
    wanted = tally.refused[500] + more
    await until(lambda: tally.refused[500] >= wanted, "faults")


@pytest.mark.load
async def test_a_livekit_that_stops_in_its_tracks_is_a_fault_until_it_goes_on(
    stage: Stage, load: FullCounts
) -> None:
    rooms = made(200)
    rounds = load.count(10, short=1)
    slowest = 0.0
    async with stored(stage.redis, rooms), asked_meanwhile(stage.url, rooms.questions(), 16) as tally:
        await more_right(tally)
        for _ in range(rounds):
            os.kill(stage.livekit.pid, signal.SIGSTOP)
            try:
                # A short form stops it for less than the calls to it may take; these are answered then.
                if load.full:
                    await more_refused(tally, 16)
                else:
                    await asyncio.sleep(0.3)
            finally:
                os.kill(stage.livekit.pid, signal.SIGCONT)
            slowest = max(slowest, await more_right(tally))
    assert tally.wrong == []
    assert tally.broken == {}
    assert set(tally.refused) <= {500}
    what = f"{rounds} times: {tally}; right again after {slowest:.2f} s at most"
    load.figure("P3 (stopped and resumed)", what)
    assert slowest <= load.bound(1)


@pytest.mark.load
async def test_whatever_is_killed_behind_the_service_and_when_no_answer_is_wrong(
    stage: Stage, load: FullCounts
) -> None:
    rooms = made(200)
    rounds = load.count(20, short=1)
    back: dict[str, float] = {"LiveKit": 0.0, "Redis": 0.0}
    await stage.redis.client.ping()
    async with stored(stage.redis, rooms):
        before = await stage.held()
        async with asked_meanwhile(stage.url, rooms.questions(), 32) as tally:
            await more_right(tally)
            for round_ in range(rounds):
                load.progress("kills", round_, rounds)
                await asyncio.sleep(random.uniform(0, 0.5 if load.full else 0.01))
                if round_ % 2 == 0:
                    await stage.livekit.kill()
                    await more_refused(tally)
                    await stage.livekit.start()
                    back["LiveKit"] = max(back["LiveKit"], await more_right(tally))
                else:
                    os.kill(stage.redis.pid, signal.SIGKILL)
                    await more_refused(tally)
                    await stage.redis.stop()
                    await stage.redis.start()
                    back["Redis"] = max(back["Redis"], await more_right(tally))
        assert await stage.leaks(before) == {}
    assert tally.wrong == []
    assert tally.broken == {}
    assert set(tally.refused) <= {500}
    for row, killed, most in (("P3", "LiveKit", 1), ("P4", "Redis", 2)):
        what = f"{rounds // 2} times, both in turn: {tally}; right again after {back[killed]:.2f} s at most"
        load.figure(f"{row} (killed)", what)
        assert back[killed] <= load.bound(most)
