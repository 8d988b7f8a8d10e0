"""What a worker makes of what the service says of itself."""

import asyncio
from collections.abc import Iterator, MutableMapping
from typing import Any

from structlog.testing import capture_logs

from edge.readiness import ASK_SECONDS, SECONDS_WHILE_NOT, SECONDS_WHILE_READY, Problem, Readiness

AWAY, UNREADY = Problem("it is not there", certain=True), Problem("it is not ready", certain=True)
SLOW, WELL = Problem("it does not answer in time", certain=False), None
YES, NO = (True, SECONDS_WHILE_READY), (False, SECONDS_WHILE_NOT)
STILL = (True, SECONDS_WHILE_NOT)


async def seen_of(
    *outcomes: Problem | None,
) -> tuple[list[tuple[bool, float]], list[MutableMapping[str, Any]]]:
    """After each of these answers: whether it is ready, and the pause. And what is logged of all of them."""
    said: Iterator[Problem | None] = iter(outcomes)
    readiness = Readiness()
    seen: list[tuple[bool, float]] = []
    over = asyncio.Event()

    async def ask(seconds: float) -> Problem | None:
        assert seconds == ASK_SECONDS
        return next(said)

    async def sleep(seconds: float) -> None:
        seen.append((readiness.ready, seconds))
        if len(seen) == len(outcomes):
            over.set()
            await asyncio.Event().wait()

    assert not readiness.ready
    with capture_logs() as logs:
        running = asyncio.create_task(readiness.run(ask, sleep))
        await over.wait()
        running.cancel()
    return seen, logs


async def test_it_follows_the_service_at_a_bounded_rate_and_logs_changes_once() -> None:
    seen, logs = await seen_of(AWAY, UNREADY, WELL, WELL, UNREADY, AWAY, WELL)
    assert seen == [NO, NO, YES, YES, NO, NO, YES]
    assert [(record["event"], record.get("problem")) for record in logs] == [
        ("not_ready", AWAY.text),
        ("ready", None),
        ("not_ready", UNREADY.text),
        ("ready", None),
    ]


async def test_a_question_that_is_not_answered_in_time_counts_only_when_the_next_is_not_either() -> None:
    seen, logs = await seen_of(WELL, SLOW, WELL, SLOW, WELL, SLOW, SLOW, SLOW, WELL, SLOW, AWAY, SLOW)
    assert seen == [YES, STILL, YES, STILL, YES, STILL, NO, NO, YES, STILL, NO, NO]
    assert [record["event"] for record in logs] == ["ready", "not_ready", "ready", "not_ready"]


async def test_a_service_that_never_answered_is_not_ready_and_the_log_says_so() -> None:
    seen, logs = await seen_of(SLOW, SLOW, SLOW)
    assert seen == [NO, NO, NO]
    assert [record["problem"] for record in logs] == [SLOW.text]
