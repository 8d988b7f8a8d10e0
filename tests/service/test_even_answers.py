"""Masked answers leave at whole steps after their calls began."""

import asyncio
import gc
import threading
import time

import pytest

from service import even_answers
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


async def test_work_that_could_show_in_an_answers_time_is_done_after_that_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(even_answers, "_CLEAR_SECONDS", STEP)
    order: list[str] = []

    async def leave(answers: EvenAnswers, began: float) -> None:
        await answers.leave(began)
        order.append("left")

    async with EvenAnswers(STEP) as answers:
        leaving = asyncio.create_task(leave(answers, time.monotonic()))
        await asyncio.sleep(0)
        await answers.let_pass()
        order.append("worked")
        await leaving
    assert order == ["left", "worked"]


async def test_work_waits_for_no_answer_that_has_time_and_never_for_long() -> None:
    async with EvenAnswers(60) as answers:
        now = time.monotonic()
        leaving = asyncio.create_task(answers.leave(now - 59))
        await asyncio.sleep(0)
        at_once = asyncio.create_task(answers.let_pass())
        await asyncio.sleep(0)
        assert at_once.done()
        leaving.cancel()
        await asyncio.wait({leaving})
        # Who has left without an answer holds up nobody.
        soon = asyncio.create_task(answers.leave(now - 60 + 0.000_5))
        await asyncio.sleep(0)
        soon.cancel()
        await asyncio.wait({soon})
        at_once = asyncio.create_task(answers.let_pass())
        await asyncio.sleep(0)
        assert at_once.done()


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
