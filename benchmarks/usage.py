"""Owns what processes use: CPU time and resident memory, with all that they started.

Step before: `benchmarks.run` knows which processes take part.
"""

import asyncio
import contextlib
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import psutil

__all__ = ["Usage", "children_cpu"]

SAMPLE_SECONDS: Final = 0.25


class Usage:
    """What some processes use while a block runs.

    Args:
        pids: name to process id; a process counts with all that it had started when the block began.
    """

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._trees = {name: _tree(psutil.Process(pid)) for name, pid in pids.items()}
        self.cpu_seconds: dict[str, float] = {}
        """By name, once the block has ended."""
        self.memory_bytes: dict[str, int] = {}
        """By name: the most that was seen."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A block; inside a running event loop."""
        before = self._cpu()
        sampling = asyncio.ensure_future(self._sample())
        try:
            yield
        finally:
            sampling.cancel()
        after = self._cpu()
        self._look()
        self.cpu_seconds = {name: after[name] - before[name] for name in after}

    async def _sample(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(SAMPLE_SECONDS)

    def _look(self) -> None:
        for name, tree in self._trees.items():
            size = 0
            for process in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    size += process.memory_info().rss
            self.memory_bytes[name] = max(size, self.memory_bytes.get(name, 0))

    def _cpu(self) -> dict[str, float]:
        spent: dict[str, float] = {}
        for name, tree in self._trees.items():
            spent[name] = 0.0
            for process in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    spent[name] += times.user + times.system
        return spent


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def children_cpu() -> float:
    """CPU seconds of all children that this process has waited for so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
