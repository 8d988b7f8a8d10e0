"""When the service says that it is ready, how often it asks, and what it logs."""

import asyncio
from collections.abc import Collection, Iterator

from structlog.testing import capture_logs

from service.errors import LiveKitFailed, LiveKitRefused, LiveKitTimedOut, LiveKitUnavailable
from service.readiness import PROBE_NAME, SECONDS_WHILE_NOT, SECONDS_WHILE_READY, Readiness

WELL = None
AWAY = LiveKitUnavailable("no connection")
SLOW = LiveKitTimedOut("no answer within 3 s")
REFUSED = LiveKitRefused("compare the keys")


class Asked:
    """A LiveKit that gives one outcome after the other, and ends the asking after the last."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self._outcomes: Iterator[Exception | None] = iter(outcomes)
        self._left = len(outcomes)
        self.over = asyncio.Event()
        self.names: list[Collection[str]] = []
        self.pauses: list[float] = []

    async def list_rooms_named(self, names: Collection[str]) -> object:
        self.names.append(names)
        self._left -= 1
        if (outcome := next(self._outcomes)) is not None:
            raise outcome
        return []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if not self._left:
            self.over.set()
            await asyncio.Event().wait()


async def told(*outcomes: Exception | None) -> tuple[Asked, list[bool], list[str]]:
    """What is told and logged of a LiveKit with these outcomes."""
    livekit = Asked(*outcomes)
    changes: list[bool] = []
    with capture_logs() as logs:
        asking = asyncio.create_task(Readiness(livekit, changes.append, livekit.sleep).run())
        await livekit.over.wait()
        asking.cancel()
    return livekit, changes, [f"{record['event']}: {record.get('detail', '')}" for record in logs]


async def test_changes_are_told_and_logged_once_with_what_to_do() -> None:
    _, changes, logs = await told(AWAY, AWAY, WELL, WELL, REFUSED, REFUSED, AWAY, WELL)
    assert changes == [True, False, True]
    assert logs == [
        "not ready: no connection",
        "ready: ",
        "not ready: compare the keys",
        "not ready: no connection",
        "ready: ",
    ]


async def test_a_time_out_counts_only_when_the_next_question_times_out_too() -> None:
    livekit, changes, logs = await told(WELL, SLOW, WELL, SLOW, WELL, SLOW, SLOW, WELL)
    assert changes == [True, False, True]
    assert logs == ["ready: ", "not ready: no answer within 3 s", "ready: "]
    yes, no = SECONDS_WHILE_READY, SECONDS_WHILE_NOT
    assert livekit.pauses == [yes, no, yes, no, yes, no, no, yes]


async def test_a_livekit_that_never_answers_is_not_ready_and_one_that_is_gone_is_so_at_once() -> None:
    assert (await told(SLOW, SLOW))[1:] == ([], ["not ready: no answer within 3 s"])
    _, changes, logs = await told(WELL, SLOW, AWAY)
    assert changes == [True, False]
    assert logs == ["ready: ", "not ready: no connection"]


async def test_one_small_question_is_asked_at_a_bounded_rate() -> None:
    livekit, _, _ = await told(WELL, WELL, LiveKitFailed("HTTP 500"), WELL)
    assert livekit.names == [[PROBE_NAME]] * 4
    assert livekit.pauses == [
        SECONDS_WHILE_READY,
        SECONDS_WHILE_READY,
        SECONDS_WHILE_NOT,
        SECONDS_WHILE_READY,
    ]


async def test_an_unforeseen_failure_does_not_end_the_asking_and_its_text_is_not_logged() -> None:
    _, changes, logs = await told(WELL, RuntimeError("secret"), WELL)
    assert changes == [True, False, True]
    assert logs == ["ready: ", "not ready: ", "ready: "]


async def test_without_a_key_nothing_is_asked_and_the_log_says_what_to_set() -> None:
    changes: list[bool] = []
    with capture_logs() as logs:
        await Readiness(None, changes.append).run()
    assert changes == []
    (told,) = logs
    assert (told["event"], told["error"]) == ("not ready", "LiveKitNotConfigured")
    assert "LIVEKIT_API_KEY" in told["detail"]
