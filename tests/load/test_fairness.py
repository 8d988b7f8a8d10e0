"""One tenant floods: the others are answered as ever."""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import running
from tests.load.asking import Tally, ask_until, percentile
from tests.load.conftest import Stage
from tests.load.questions import Question, made, stored
from tests.support.full_counts import FullCounts
from tools.stack import ROOT

OTHERS = {f"tenant-{number}": f"secret-of-{number}" for number in range(8)}
FLOODER, FLOODERS_SECRET = "flooder", "secret-of-the-flooder"
EACH_A_SECOND = 5.0
TIMES_AS_MUCH = 100

LIMITS = {"TENANTROOMS_TENANT_RATE": "50/second"}
"""As an operator sets it: ten times what a tenant usually needs."""


class FloodProcess:
    """`tests.load.flood`, started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: dict[str, Any] = {}

    def switch(self, *, on: bool) -> None:
        """Floods from now on, or rests."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"on\n" if on else b"off\n")

    async def end(self) -> None:
        """Ends it, and reads what it tells."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        told, _ = await self._process.communicate()
        self.told = json.loads(told)


@asynccontextmanager
async def flooding(url: str, token: str, rate: float) -> AsyncIterator[FloodProcess]:
    """A flood that rests yet; when the block has ended, it has told what became of it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.load.flood", url, token, str(rate)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    flood = FloodProcess(process)
    try:
        yield flood
    finally:
        await flood.end()


@pytest.mark.load
async def test_a_tenant_that_floods_slows_the_others_down_but_little(
    stage: Stage, tmp_path: Path, load: FullCounts
) -> None:
    """MATRIX L4. Base line and flood take turns of some seconds, so that both see the same machine."""
    rooms = made(load.count(1_000, short=100), secrets=OTHERS)
    rounds = load.count(12, short=1)
    seconds = 5.0 if load.full else 0.5
    each = EACH_A_SECOND if load.full else 20.0
    secrets = [{"id": tenant, "secret": secret} for tenant, secret in OTHERS.items()]
    settings = {
        "AUTH_REQUIRED": "true",
        "AUTH_API_SECRETS_JSON": json.dumps([*secrets, {"id": FLOODER, "secret": FLOODERS_SECRET}]),
        **LIMITS,
    }
    calm, flooded = Tally(), Tally()
    async with (
        stored(stage.redis, rooms),
        running(stage.livekit, tmp_path, settings) as callers,
        flooding(callers.stack.url, FLOODERS_SECRET, TIMES_AS_MUCH * each) as flood,
    ):
        questions = rooms.questions()
        random.shuffle(questions)
        await ask_until(callers.stack.url, questions, 2, lambda tally: tally.calls >= len(questions))
        for turn in range(rounds):
            load.progress("rounds", turn, rounds)
            await asked_by_all(callers.stack.url, questions, each, seconds, calm)
            flood.switch(on=True)
            await asked_by_all(callers.stack.url, questions, each, seconds, flooded)
            flood.switch(on=False)
    for tally in (calm, flooded):
        assert tally.wrong == []
        assert (tally.right, tally.refused, tally.broken) == (tally.calls, {}, {})
    told = flood.told
    assert told["broken"] == 0
    assert set(told["statuses"]) == {"200", "429"}
    before, meanwhile = (percentile(tally.times, 0.99) for tally in (calm, flooded))
    load.figure(
        "L4",
        f"{len(OTHERS)} tenants with {each:g} calls/s each, one with {told['calls'] / told['seconds']:,.0f}, "
        f"of which {told['statuses']['429'] / told['calls']:.0%} were refused: the others' p99 "
        f"{before:.1f} → {meanwhile:.1f} ms, {meanwhile / before:.2f} times; "
        f"p50 {percentile(calm.times, 0.5):.1f} → {percentile(flooded.times, 0.5):.1f} ms; "
        f"0 errors of {flooded.calls:,}",
    )
    if load.full:
        assert meanwhile <= 1.5 * before


async def asked_by_all(
    url: str, questions: list[Question], each: float, seconds: float, tally: Tally
) -> None:
    """So many calls a second of each tenant, for so long."""
    clients = 2 * len(OTHERS)
    ends = time.monotonic() + seconds
    pause = clients / (each * len(OTHERS))
    await ask_until(url, questions, clients, lambda _: time.monotonic() >= ends, pause=pause, tally=tally)
