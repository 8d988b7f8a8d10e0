"""Owns the measuring: round by round, store by store, each cell with its callers, and what that took.

Step before: `benchmarks.__main__`. Step after: `benchmarks.drivers` calls the peers of `benchmarks.peers`.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.callers import Job
from benchmarks.drivers import CallersProcess, DriverError, collect_bodies, run_wrk
from benchmarks.figures import Figures, figures_of
from benchmarks.layout import Store
from benchmarks.peers import RunningPeer, running, running_bare
from benchmarks.plan import Cell, Driver, Form, Kind, Peer, Protocol
from benchmarks.requests import requests_of, scan_request
from benchmarks.upstream import Upstream
from benchmarks.usage import Usage

__all__ = ["Measurement", "Results", "Tools"]

Results = dict[Cell, list[Figures]]
"""The figures of each round, in order."""

WARM_WRK_SECONDS: Final = 1
ALONE: Final = (Peer.MINIMIZE, Peer.BARE)
"""Peers that run during their own cells only: one works in the background, one has answers from memory."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that are needed."""

    livekit: Path
    redis: Path
    wrk: Path


@dataclass
class Measurement:
    """One run of a form.

    Args:
        form: what is measured.
        tools: with what.
        folder: an existing one, for logs.
        settings: further ones for TenantRooms.
        say: shows a line.
        ends: when the time is up, on the monotonic clock.
    """

    form: Form
    tools: Tools
    folder: Path
    settings: Mapping[str, str]
    say: Callable[[str], None]
    ends: float
    results: Results = field(default_factory=dict)
    _bodies: dict[tuple[Store, Kind, Peer], list[bytes]] = field(default_factory=dict)
    _done: int = 0

    async def run(self) -> Results:
        """Measure everything.

        A cell whose answers are wrong or missing has that among its figures, and the others go on. What
        has not begun when the form's time is up is left out.

        Raises:
            ChildFailedError: a process did not come up.
        """
        async with Upstream(self.tools.livekit, self.tools.redis, self.folder) as upstream:
            for number in range(self.form.rounds):
                await self._round(upstream, number)
        return self.results

    async def _round(self, upstream: Upstream, number: int) -> None:
        """All cells once. Peers without background work run all the time: idle they cost nothing."""
        # Those that start anew are asked anew, so that no first reading of all rooms is in what is measured.
        self._bodies = {place: bodies for place, bodies in self._bodies.items() if place[2] not in ALONE}
        async with AsyncExitStack() as parts:
            peers: dict[Peer, RunningPeer] = {}
            folder = self.folder / f"round-{number + 1}"
            for peer in (Peer.PLAIN, Peer.TENANTROOMS):
                peers[peer] = await parts.enter_async_context(
                    running(peer, upstream.livekit, folder, self.settings)
                )
            for store, cells in self.form.by_store():
                await upstream.fill(store)
                shared = [cell for cell in cells if cell.peer not in ALONE]
                for cell in _rotated(shared, number):
                    await self._cell(upstream, peers.get(cell.peer), cell, number)
                for peer in ALONE:
                    alone = [cell for cell in cells if cell.peer is peer]
                    if not alone:
                        continue
                    async with (
                        running_bare(peers[Peer.TENANTROOMS], folder)
                        if peer is Peer.BARE
                        else running(peer, upstream.livekit, folder, self.settings)
                    ) as peer_alone:
                        for cell in alone:
                            await self._cell(upstream, peer_alone, cell, number)

    async def _cell(self, upstream: Upstream, peer: RunningPeer | None, cell: Cell, number: int) -> None:
        self._done += 1
        place = f"[{self._done}/{len(self.form.cells()) * self.form.rounds}] round {number + 1}"
        if time.monotonic() > self.ends:
            self.say(f"{place}: {cell}: left out, the time is up")
            return
        try:
            figures = await self._measured(upstream, peer, cell)
        except DriverError as error:
            figures = Figures(0.0, 0.0, 0.0, problems=(str(error),))
        self.results.setdefault(cell, []).append(figures)
        shown = f"{figures.per_second:,.1f}/s, p50 {figures.p50_ms:.2f} ms, p99 {figures.p99_ms:.2f} ms"
        self.say(f"{place}: {cell}: {f'FAILED: {figures.problems[0]}' if figures.problems else shown}")

    async def _measured(self, upstream: Upstream, peer: RunningPeer | None, cell: Cell) -> Figures:
        """The figures of one cell. Raises DriverError."""
        job = self._job(upstream, peer, cell)
        usage = Usage({**(peer.pids if peer else {}), **upstream.pids})
        if cell.driver is Driver.WRK:
            place = (cell.load.store, cell.load.kind, cell.peer)
            if place not in self._bodies:
                self._bodies[place] = await collect_bodies(job)
            bodies = self._bodies[place]
            if self.form.warm_up:
                await run_wrk(self.tools.wrk, job, bodies, WARM_WRK_SECONDS)
            calls = await upstream.calls()
            with usage.watched():
                outcome = await run_wrk(self.tools.wrk, job, bodies, round(job.seconds))
        if cell.driver is Driver.ASYNCIO or (outcome.answers < job.callers and not outcome.failed):
            # Nearly all was under way when wrk dropped it: only who waits for such answers can tell.
            async with CallersProcess(job) as callers:
                calls = await upstream.calls()
                with usage.watched():
                    outcome = await callers.run()
        calls = await upstream.calls() - calls
        return figures_of(outcome, usage.cpu_seconds, usage.memory_bytes, calls)

    def _job(self, upstream: Upstream, peer: RunningPeer | None, cell: Cell) -> Job:
        bare = cell.protocol is Protocol.TWIRP or peer is None
        return Job(
            protocol=cell.protocol,
            address=upstream.address if bare or peer is None else peer.addresses[cell.protocol],
            requests=[scan_request(cell.load.store, upstream.listing_token())]
            if bare
            else requests_of(cell.load),
            callers=cell.load.callers,
            seconds=self.form.seconds_for(cell),
            warm_up=self.form.warm_up,
        )


def _rotated(cells: list[Cell], number: int) -> list[Cell]:
    """The cells in another order each round, so that no peer always comes first."""
    by_callers = sorted(cells, key=lambda cell: (cell.load.kind.value, cell.load.callers))
    return by_callers if number % 2 == 0 else by_callers[::-1]
