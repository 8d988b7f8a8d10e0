"""Refused tokens in the log: each reason at once, and a flood of them in few lines."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.auth.refusal_log import MOST_REASONS, OTHER_REASONS, RefusalLog
from service.errors import CredentialRejected
from tests.service.auth.oidc import EC, provider
from tests.service.auth.timers import Timers

FIRST, MORE = (
    "a token of the identity provider was refused",
    "more tokens of the identity provider were refused",
)


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def refusals(timers: Timers) -> RefusalLog:
    return RefusalLog(timers)


def told(logs: list[Any]) -> list[tuple[str, str, int | None]]:
    assert {entry["log_level"] for entry in logs} <= {"info"}
    return [(entry["event"], entry["problem"], entry.get("count")) for entry in logs]


def test_each_reason_is_told_at_once_and_what_follows_as_one_count(
    refusals: RefusalLog, timers: Timers
) -> None:
    with capture_logs() as logs:
        for _ in range(1_000):
            refusals.refused("expired")
        refusals.refused("forged")
        assert told(logs) == [(FIRST, "expired", None), (FIRST, "forged", None)]
        timers.end()
    assert told(logs[2:]) == [(MORE, "expired", 999)]


def test_a_flood_that_goes_on_is_one_line_for_each_interval(refusals: RefusalLog, timers: Timers) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            for _ in range(10):
                refusals.refused("expired")
            timers.end()
    assert told(logs) == [(FIRST, "expired", None), *[(MORE, "expired", count) for count in (9, 10, 10)]]


def test_a_reason_that_has_not_come_for_an_interval_is_told_at_once_again(
    refusals: RefusalLog, timers: Timers
) -> None:
    with capture_logs() as logs:
        refusals.refused("expired")
        timers.end()
        assert timers.waiting == set()
        refusals.refused("expired")
    assert told(logs) == [(FIRST, "expired", None)] * 2


def test_ever_new_reasons_are_a_flood_too(refusals: RefusalLog, timers: Timers) -> None:
    with capture_logs() as logs:
        for number in range(10 * MOST_REASONS):
            refusals.refused(f"reason {number}")
        assert len(logs) == len(timers.waiting) == MOST_REASONS + 1
        assert told(logs)[-1] == (FIRST, OTHER_REASONS, None)
        timers.end()
    assert told(logs)[-1] == (MORE, OTHER_REASONS, 9 * MOST_REASONS - 1)


def test_what_was_counted_is_told_in_the_end(refusals: RefusalLog, timers: Timers) -> None:
    with capture_logs() as logs:
        for reason in ("expired", "forged", "expired", "expired"):
            refusals.refused(reason)
        refusals.close()
        assert told(logs) == [(FIRST, "expired", None), (FIRST, "forged", None), (MORE, "expired", 2)]
        timers.end()
    assert len(logs) == 3


async def test_a_flood_of_refused_tokens_is_one_line_of_the_log() -> None:
    verifier = provider()
    tokens = [EC.token({"kid": f"made-up-{number}"}) for number in range(50)]
    with capture_logs() as logs:
        refusals = await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
    assert {type(refusal) for refusal in refusals} == {CredentialRejected}
    assert told(logs) == [(FIRST, "0 keys fit it", None)]
