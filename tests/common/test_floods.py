"""Floods of records: so many of a kind at once, then so many a second, and a count of those left out."""

import asyncio
from collections.abc import Hashable

import pytest

from common import floods as module
from common.floods import BURST, BURST_EACH, MOST_CALLERS, PER_SECOND, PER_SECOND_EACH, Floods


def through(floods: Floods, kind: str, records: int) -> list[dict[str, object]]:
    """Those that are written."""
    made: list[dict[str, object]] = [{} for _ in range(records)]
    return [record for record in made if floods.let_through(kind, record)]


def test_each_kind_has_a_burst_and_then_so_many_a_second() -> None:
    now = 100.0
    floods = Floods(lambda: now)
    assert len(through(floods, "a", 1000)) == BURST
    assert len(through(floods, "b", 1000)) == BURST
    now += 1
    assert len(through(floods, "a", 1000)) == PER_SECOND
    now += 3600
    assert len(through(floods, "a", 1000)) == BURST


def test_the_next_record_of_its_kind_says_once_how_many_were_left_out() -> None:
    now = 100.0
    floods = Floods(lambda: now)
    assert not any(through(floods, "a", 1000))
    now += 1
    assert through(floods, "b", 1) == [{}]
    assert through(floods, "a", 2) == [{"not_logged": 1000 - BURST}, {}]


async def test_what_was_left_out_is_told_after_a_while_though_no_record_comes_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LEFT_OUT_SECONDS", 0.01)
    told: asyncio.Queue[tuple[Hashable, int]] = asyncio.Queue()
    floods = Floods(lambda: 100.0, lambda kind, count: told.put_nowait((kind, count)))
    through(floods, "a", 1000)
    async with asyncio.timeout(10):
        assert await told.get() == ("a", 1000 - BURST)
    through(floods, "a", 5)
    async with asyncio.timeout(10):
        assert await told.get() == ("a", 5)
    floods.close()
    assert told.empty()


async def test_what_a_later_record_has_told_is_not_told_again_and_the_end_tells_the_rest() -> None:
    now, told = 100.0, list[tuple[Hashable, int]]()
    floods = Floods(lambda: now, lambda kind, count: told.append((kind, count)))
    through(floods, "a", BURST + 7)
    through(floods, "b", BURST + 3)
    now += 0.15
    assert through(floods, "a", 1) == [{"not_logged": 7}]
    floods.close()
    assert told == [("b", 3)]


def written(floods: Floods, kind: str, caller: str | None, times: int) -> int:
    return sum(floods.let_through(kind, {}, caller) for _ in range(times))


def test_a_callers_flood_does_not_hide_what_happened_to_another() -> None:
    floods = Floods(lambda: 0.0)
    assert written(floods, "refused", "acme", 1000) == BURST + BURST_EACH
    assert written(floods, "refused", "globex", 1000) == BURST_EACH
    assert written(floods, "refused", None, 1000) == 0
    record: dict[str, object] = {}
    assert floods.let_through("refused", record, "initech")
    assert record["not_logged"] == 2000 - BURST_EACH  # since a record told how many were left out


def test_a_fault_that_all_callers_meet_is_no_flood_of_lines() -> None:
    now = [0.0]
    floods = Floods(lambda: now[0])
    callers = [f"tenant-{number}" for number in range(10 * MOST_CALLERS)]
    for _ in range(20):
        lines = sum(written(floods, "failed", caller, 10) for caller in callers)
        assert lines <= BURST + MOST_CALLERS * BURST_EACH
    now[0] = BURST_EACH / PER_SECOND_EACH  # those who were heard first may be forgotten now
    assert written(floods, "failed", None, 1000) == BURST
    assert written(floods, "failed", callers[-1], 10) == BURST_EACH
