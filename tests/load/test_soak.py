"""Callers of all kinds for an hour: what the processes hold does not grow."""

import asyncio
import random
import time

import pytest

from tests.end_to_end.callers import ACME
from tests.load.asking import asked_meanwhile, more_right
from tests.load.conftest import Stage
from tests.load.connection import Connection
from tests.load.processes import Held
from tests.load.questions import LISTS, made, stored
from tests.support.full_counts import FullCounts

CLIENTS = 32
WARM_UP_SHARE = 0.2
"""Of all the time; what is held at its end is what must not grow."""


async def odd_callers(stage: Stage, over: asyncio.Event) -> int:
    """Callers who leave, and callers over gRPC; gives how many there were."""
    count = 0
    while not over.is_set():
        count += 1
        async with Connection(stage.url) as leaves:
            await leaves.send(LISTS, ACME)
            await asyncio.sleep(random.uniform(0, 0.02))
        await stage.callers.grpc_names(ACME)
        await asyncio.sleep(0.05)
    return count


async def at_rest(stage: Stage, before: dict[str, Held]) -> dict[str, Held]:
    """What is held once nobody calls."""
    return {
        name: await stage.counted.settled(pid, before[name], descriptors=0)
        for name, pid in stage.pids.items()
    }


@pytest.mark.soak
async def test_nothing_grows_under_lasting_load(stage: Stage, soak: FullCounts) -> None:
    """MATRIX R3."""
    rooms = made(soak.count(1_000, short=100))
    seconds = soak.seconds if soak.full else 0.6
    calls = odd = 0

    async def load(for_seconds: float) -> None:
        nonlocal calls, odd
        over, ends = asyncio.Event(), time.monotonic() + for_seconds
        async with asked_meanwhile(stage.url, rooms.questions(), CLIENTS, pause=0.1) as tally:
            leaving = asyncio.create_task(odd_callers(stage, over))
            await more_right(tally)
            while time.monotonic() < ends:
                await asyncio.sleep(min(5, max(0, ends - time.monotonic())))
                soak.progress("calls", calls + tally.calls, calls + tally.calls)
            over.set()
            odd += await leaving
        calls += tally.calls
        assert tally.wrong == []
        assert (tally.refused, tally.broken) == ({}, {})

    async with stored(stage.redis, rooms):
        await load(seconds * WARM_UP_SHARE)
        before = await at_rest(stage, await stage.held())
        await load(seconds * (1 - WARM_UP_SHARE))
        after = await at_rest(stage, before)
    assert before.keys() == after.keys(), "no process has been replaced"
    changes = []
    for name, then in before.items():
        now = after[name]
        grown = now.resident / then.resident - 1
        changes.append(
            f"{name} {grown:+.1%} of {then.resident // 2**20} MiB, "
            f"{now.descriptors - then.descriptors:+d} descriptors, {now.tasks - then.tasks:+d} tasks"
        )
        assert now.tasks == then.tasks, name
        assert abs(now.descriptors - then.descriptors) <= 5, name
    what = f"{seconds / 60:.0f} min, {calls:,} calls and {odd:,} odd ones, 0 errors"
    soak.figure("R3", f"{what}: {'; '.join(changes)}")
    if soak.full:
        for name, then in before.items():
            assert after[name].resident <= 1.01 * then.resident, name
