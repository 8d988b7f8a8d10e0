"""How long calls of several kinds take, measured in one random order by callers side by side."""

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tests.support.full_counts import Cell, FullCounts
from tests.wall.welch import LEAK, compared

Times = Mapping[str, Sequence[float]]
"""Microseconds of each call, by its kind."""

WARM_UP = 10
"""Calls of each kind whose times do not count."""

PAIRS = ("Pair", "Samples of each", "Welch's t", "t, cropped", "Medians, µs")


async def sampled(
    wall: FullCounts,
    what: str,
    kinds: Sequence[str],
    each: int,
    ask: Callable[[str], Awaitable[float | None]],
    *,
    at_once: int,
) -> dict[str, list[float]]:
    """Times of so many calls of each kind.

    Args:
        ask: makes one call of this kind. May give its time itself, where not all it does is part of it.
        at_once: callers side by side; they take the kinds from one random order.
    """
    for kind in [*kinds] * WARM_UP:
        await ask(kind)
    order = [kind for kind in kinds for _ in range(each)]
    random.shuffle(order)
    left = iter(order)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}

    async def caller() -> None:
        for kind in left:
            began = time.perf_counter_ns()
            took = await ask(kind)
            times[kind].append((time.perf_counter_ns() - began) / 1000 if took is None else took)
            wall.progress(what, sum(map(len, times.values())), len(order))

    async with asyncio.TaskGroup() as callers:
        for _ in range(at_once):
            callers.create_task(caller())
    return times


def pair_rows(times: Times) -> list[list[Cell]]:
    """A row of `PAIRS` for each pair of kinds."""
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    counts = {kind: len(values) for kind, values in times.items()}
    rows: list[list[Cell]] = []
    for pair, t, cropped in compared(times):
        a, b = pair.split(", ")
        each = f"{min(counts[a], counts[b]):,}"
        rows.append([pair, each, f"{t:+.2f}", f"{cropped:+.2f}", f"{medians[a]:,.1f}, {medians[b]:,.1f}"])
    return rows


def leaks(times: Times, wall: FullCounts) -> list[str]:
    """The pairs that differ by more than chance allows; a short form is ten times as patient."""
    limit = LEAK if wall.full else 10 * LEAK
    return [
        f"{pair}: t = {t:+.2f}, cropped {cropped:+.2f}"
        for pair, t, cropped in compared(times)
        if max(abs(t), abs(cropped)) >= limit
    ]
