"""Many callers for a long time, or more than can be served: all answers right, and nothing is left behind."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.conftest import running
from tests.load.asking import Tally, ask_until, asked_meanwhile, percentile
from tests.load.conftest import Stage
from tests.load.processes import connections
from tests.load.questions import LISTS, Question, Verdict, made, stored
from tests.support.full_counts import FullCounts
from tests.support.twirp import TwirpCaller

CLIENTS = 64
PAUSE_SECONDS = 0.25
OVER_THE_SCAN_MS = 15.0


async def scan_times(stage: Stage, over: asyncio.Event) -> list[float]:
    """How long LiveKit's own list takes meanwhile, asked directly; seconds."""
    times = []
    async with aiohttp.ClientSession() as session:
        livekit = TwirpCaller(session, stage.livekit)
        while not over.is_set():
            began = time.perf_counter()
            await livekit.list_rooms()
            times.append(time.perf_counter() - began)
            await asyncio.sleep(0.1)
    return times


@pytest.mark.load
async def test_callers_that_stay_for_long_get_right_answers_only(stage: Stage, load: FullCounts) -> None:
    """MATRIX L1."""
    rooms = made(load.count(1_000, short=100))
    seconds = load.seconds if load.full else 1.0
    pause = PAUSE_SECONDS if load.full else 0.02
    async with stored(stage.redis, rooms):
        await ask_until(stage.url, rooms.questions(), 4, lambda tally: tally.calls >= 40)
        before, ends, over = await stage.held(), time.monotonic() + seconds, asyncio.Event()
        scanning = asyncio.create_task(scan_times(stage, over))

        def is_over(tally: Tally) -> bool:
            load.progress("seconds of load", int(seconds - ends + time.monotonic()), int(seconds))
            return time.monotonic() >= ends

        tally = await ask_until(stage.url, rooms.questions(), CLIENTS, is_over, pause=pause)
        over.set()
        scans = await scanning
        assert await stage.leaks(before) == {}
    assert tally.wrong == []
    assert (tally.right, tally.refused, tally.broken) == (tally.calls, {}, {})
    assert tally.right > CLIENTS
    over_scan = percentile(tally.times_of_lists, 0.99) - percentile(scans, 0.5)
    p50, p99 = (percentile(tally.times_of_lists, share) for share in (0.5, 0.99))
    load.figure(
        "L1",
        f"{seconds / 60:.1f} min, {tally.calls:,} calls ({tally.calls / seconds:,.0f}/s): 0 errors; "
        f"lists p50 {p50:.1f}, p99 {p99:.1f} ms, which is {over_scan:.1f} ms over the median scan",
    )
    if load.full:
        assert over_scan <= OVER_THE_SCAN_MS


@pytest.mark.load
async def test_the_connections_to_livekit_stay_few_however_many_call(stage: Stage, load: FullCounts) -> None:
    rooms = made(50)
    most, calls = 0, load.count(20_000, short=500)
    async with stored(stage.redis, rooms), asked_meanwhile(stage.url, rooms.questions(), 256) as tally:
        while tally.calls < calls:
            load.progress("calls", tally.calls, calls)
            most = max(most, connections([stage.pids["service"]], stage.counted.livekit_port))
            await asyncio.sleep(0.05)
    assert tally.wrong == []
    assert tally.broken == {}
    assert 0 < most <= 64


# Few places, so that the surplus is there whatever the machine can do.
FEW_PLACES = {
    "TENANTROOMS_MAX_CALLS": "48",
    "TENANTROOMS_MAX_RUNNING_CALLS": "24",
    "TENANTROOMS_EDGE_MAX_CALLS": "48",
}
FITTING = 16
"""Clients who find a place, half of them of each tenant."""


@pytest.mark.load
async def test_what_is_too_much_is_refused_and_the_rest_served(
    stage: Stage, tmp_path: Path, load: FullCounts
) -> None:
    """MATRIX L2: the surplus is told so by a constant, and what is accepted is right and not late."""
    rooms = made(load.count(1_000, short=50))
    questions = rooms.questions()
    seconds = load.seconds / 10 if load.full else 0.3
    settings = {"AUTH_REQUIRED": "true", **FEW_PLACES}
    async with (
        stored(stage.redis, rooms),
        running(stage.livekit, tmp_path, settings) as callers,
    ):
        await ask_until(callers.stack.url, questions, 4, lambda tally: tally.calls >= 40)
        peak = await asked_for(callers.stack.url, questions, FITTING, seconds)
        load.progress("peak", 1, 2)
        flood = await asked_for(callers.stack.url, questions, 512, seconds)
        (name, own) = next((question.path, question) for question in questions if question.path != LISTS)
        answer = await callers.rest(name, own.token)
        assert own.verdict(answer.status, answer.body) is Verdict.RIGHT
    for tally in (peak, flood):
        assert tally.wrong == []
        assert tally.broken == {}
        assert set(tally.refused) <= {429}
    assert peak.refused == {}
    assert flood.refused[429] > 0
    goodput, slowest = flood.right / peak.right, percentile(flood.times, 0.99)
    load.figure(
        "L2",
        f"{peak.right / seconds:,.0f}/s with {FITTING} clients; with 512, {goodput:.0%} of that, "
        f"p99 of the accepted {slowest:,.0f} ms; {flood.refused[429]:,} × 429 of {flood.calls:,}, 0 wrong",
    )
    if load.full:
        assert goodput >= 0.8
        assert slowest <= 1000


async def asked_for(url: str, questions: list[Question], clients: int, seconds: float) -> Tally:
    ends = time.monotonic() + seconds
    return await ask_until(url, questions, clients, lambda _: time.monotonic() >= ends)
