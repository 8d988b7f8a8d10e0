"""How places are waited for: what one may hold, whose turn it is, and that none is ever lost."""

import asyncio
import random

import pytest

from service import places
from service.places import FairQueue


async def test_turns_go_round_and_a_newcomer_does_not_wait_behind_a_flood() -> None:
    queue: FairQueue[str] = FairQueue(2)
    assert queue.enter("flood")
    began: list[str] = []

    async def wait(who: str) -> None:
        await queue.wait(who)
        began.append(who)

    tasks = [asyncio.create_task(wait(who)) for who in ("flood", "flood", "flood", "b", "b")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert began == ["b"]
    for over in ("flood", "b", "flood", "b", "flood"):
        queue.leave(over)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert began == ["b", "flood", "b", "flood", "flood"]
    await asyncio.gather(*tasks)


async def test_one_gets_few_places_at_a_time_while_others_call_and_more_again_when_alone() -> None:
    now = 100.0
    queue: FairQueue[str] = FairQueue(128, lambda: now)

    def filled_queue(who: str) -> int:
        count = 0
        while queue.enter(who):
            count += 1
        for _ in range(count):
            queue.leave(who)
        return count

    assert filled_queue("flood") == 64
    assert queue.enter("b")
    queue.leave("b")
    assert filled_queue("flood") == 16
    for number in range(10):
        assert queue.enter(f"tenant-{number}")
        queue.leave(f"tenant-{number}")
    assert filled_queue("flood") == 8
    for _ in range(2):
        now += 1.5
        assert filled_queue("flood") in {8, 64}
    assert filled_queue("flood") == 64


async def test_who_waits_too_long_is_refused_and_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_WAIT_SECONDS", 0.01)
    queue: FairQueue[str] = FairQueue(2)
    assert queue.enter("a")
    with pytest.raises(TimeoutError):
        await queue.wait("a")
    queue.leave("a")
    assert queue.enter("a")


async def test_no_place_is_lost_whenever_callers_leave() -> None:
    queue: FairQueue[int] = FairQueue(4)
    chance = random.Random(1)  # noqa: S311 (repeatable on purpose)

    async def call(who: int) -> None:
        if not queue.enter(who):
            await queue.wait(who)
        try:
            await asyncio.sleep(0)
        finally:
            queue.leave(who)

    tasks = [asyncio.create_task(call(number % 3)) for number in range(300)]
    while not all(task.done() for task in tasks):
        chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(task.cancelled() for task in tasks) > 10
    assert queue.enter(7)
    assert queue.enter(7)
    assert not queue.enter(7)
    assert not queue._queues
