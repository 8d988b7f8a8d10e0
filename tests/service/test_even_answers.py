"""Masked answers leave at whole steps after their calls began."""

import asyncio
import gc
import threading
import time

import pytest

from service.even_answers import EvenAnswers

STEP = 0.05


async def test_an_answer_leaves_at_the_first_whole_step_that_is_ahead() -> None:
    async with EvenAnswers(STEP) as answers:
        for age, due in ((0.0, STEP), (0.4 * STEP, STEP), (1.2 * STEP, 2 * STEP), (7.5 * STEP, 8 * STEP)):
            began = time.monotonic() - age
            await answers.leave(began)
            assert time.monotonic() >= began + due


async def test_answers_leave_in_the_order_of_their_moments_whatever_the_order_of_their_coming() -> None:
    left: list[int] = []

    async def leave(answers: EvenAnswers, number: int, began: float) -> None:
        await answers.leave(began)
        left.append(number)

    async with EvenAnswers(STEP) as answers, asyncio.TaskGroup() as tasks:
        now = time.monotonic()
        for number, age in ((3, 0.1), (1, 0.7), (2, 0.4)):
            tasks.create_task(leave(answers, number, now - age * STEP))
    assert left == [1, 2, 3]


async def test_a_caller_who_leaves_holds_up_nobody() -> None:
    async with EvenAnswers(STEP) as answers:
        gone = asyncio.create_task(answers.leave(time.monotonic()))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        async with asyncio.timeout(5):
            await asyncio.gather(*(answers.leave(time.monotonic()) for _ in range(100)))


async def test_the_thread_ends_with_it_though_somebody_waits() -> None:
    before = threading.active_count()
    async with EvenAnswers(60) as answers:
        waits = asyncio.create_task(answers.leave(time.monotonic()))
        await asyncio.sleep(0)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    waits.cancel()
    await asyncio.wait({waits})
    gc.collect()
