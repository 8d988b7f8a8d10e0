"""The tests that have full counts: how many, how far they are, and what they found.

`make wall`, `make load`, `make soak` and `make fuzz` run those that bear their mark in full (`pytest --wall`
and so on), and `make test` a short form of each. What a full run finds is kept as `tools/figures.py` says.
"""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from tools.figures import ROOT, Page

QUIET_SECONDS = 15.0

Cell = str | int | float


class FullCounts:
    """One run of the tests that bear one mark.

    Args:
        full: whether the counts are the full ones.
        seconds: what a test may take that does as much as fits.
        page: where the figures of a full run go.
        aside: a context in which a print reaches the terminal.
    """

    def __init__(
        self, *, full: bool, seconds: float, page: Page, aside: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.full = full
        self.seconds = seconds
        self._page = page
        self._aside = aside
        self._said = 0.0

    def count(self, full: int, *, short: int) -> int:
        """How many of something to do."""
        return full if self.full else short

    def bound(self, seconds: float) -> float:
        """What something may take: so long in a full run, ten times as long in a short one, beside others."""
        return seconds if self.full else 10 * seconds

    def progress(self, what: str, done: int, of: int) -> None:
        """Says now and then how far a full run is."""
        now = time.monotonic()
        if self.full and now - self._said >= QUIET_SECONDS:
            self._said = now
            with self._aside():
                print(f"\n  {what}: {done:,} of {of:,}", end="", flush=True)

    def record(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Keeps a table of figures of a full run, in the place of an older one with this title."""
        if self.full:
            known = self._page.known()
            known[title] = {
                "measured": f"{datetime.now(UTC):%Y-%m-%d}, commit {_commit()}, {_machine()}",
                "columns": list(columns),
                "rows": [[str(cell) for cell in row] for row in rows],
            }
            self._page.keep(known)

    def add(self, title: str, columns: Sequence[str], row: Sequence[Cell]) -> None:
        """Keeps one row of a table; the row's first cell says which."""
        earlier = self._page.known().get(title, {"rows": []})["rows"]
        rows = [old for old in earlier if old[0] != str(row[0])] + [[str(cell) for cell in row]]
        self.record(title, columns, sorted(rows))

    def figure(self, row: str, found: str) -> None:
        """Keeps and shows a figure of one row of the reliability matrix.

        Args:
            row: its id, and behind it in parentheses which of several figures this is, if there are.
        """
        if self.full:
            self.record(row, ("Figure",), [[found]])
            with self._aside():
                print(f"\n  {row}: {found}", flush=True)


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=10
        )
        return done.stdout.strip()

    # Not docs/, where the figures themselves change while they are measured.
    changed = git("status", "--porcelain", "--", "service", "edge", "client", "generated", "tests")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def _machine() -> str:
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text("utf-8").splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return (
        f"{os.cpu_count()} × {processor}, {platform.system()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )
