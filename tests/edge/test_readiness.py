"""What a worker makes of what the service says of itself."""

import asyncio
from collections.abc import Iterator

from structlog.testing import capture_logs

from edge.readiness import ASK_SECONDS, SECONDS_WHILE_NOT, SECONDS_WHILE_READY, Readiness

AWAY, UNREADY, WELL = "it does not answer", "it is not ready", None


async def test_it_follows_the_service_at_a_bounded_rate_and_logs_changes_once() -> None:
    said: Iterator[str | None] = iter([AWAY, UNREADY, WELL, WELL, UNREADY, AWAY, WELL])
    readiness = Readiness()
    seen: list[tuple[bool, float]] = []
    over = asyncio.Event()

    async def ask(seconds: float) -> str | None:
        assert seconds == ASK_SECONDS
        return next(said)

    async def sleep(seconds: float) -> None:
        seen.append((readiness.ready, seconds))
        if len(seen) == 7:
            over.set()
            await asyncio.Event().wait()

    assert not readiness.ready
    with capture_logs() as logs:
        running = asyncio.create_task(readiness.run(ask, sleep))
        await over.wait()
        running.cancel()
    yes, no = (True, SECONDS_WHILE_READY), (False, SECONDS_WHILE_NOT)
    assert seen == [no, no, yes, yes, no, no, yes]
    assert [(record["event"], record.get("problem")) for record in logs] == [
        ("not_ready", AWAY),
        ("ready", None),
        ("not_ready", UNREADY),
        ("ready", None),
    ]
