"""Owns the arithmetic: what was measured in one cell, percentiles, medians over rounds, a fitted exponent."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

__all__ = ["GENERATOR", "Figures", "Outcome", "figures_of", "fitted_exponent", "median_of", "percentile"]

GENERATOR: Final = "load"
"""The load generator's name among the processes."""

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the callers of one cell got.

    Attributes:
        answers: right answers.
        seconds: from the first request to the last answer.
        p50, p99: of the time that an answer took, in seconds; 0 without answers.
        wrong: answers that were not what is right.
        failed: errors, and connections that broke.
        unanswered: requests that were given up.
        problem: what the first of these was, for a person.
        cpu_seconds: what the load generator used, its start and a check beside it left out.
    """

    answers: int
    seconds: float
    p50: float
    p99: float
    wrong: int = 0
    failed: int = 0
    unanswered: int = 0
    problem: str = ""
    cpu_seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether everything was answered, and rightly."""
        return self.answers > 0 and not (self.wrong or self.failed or self.unanswered)

    @property
    def per_second(self) -> float:
        """Throughput."""
        return self.answers / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one cell in one round, or the medians of several.

    Attributes:
        per_second: answers per second.
        p50_ms, p99_ms: milliseconds that an answer took.
        cpu_us: process to microseconds of CPU for each answer; the load generator is one of them.
        memory_mb: process to the most resident memory seen, in units of 10⁶ bytes.
        upstream_calls: calls that LiveKit got, for each answer.
        problems: what went wrong; empty where every call was answered, and rightly.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: Mapping[str, float] = field(default_factory=dict)
    memory_mb: Mapping[str, float] = field(default_factory=dict)
    upstream_calls: float = 0.0
    problems: tuple[str, ...] = ()


def figures_of(
    outcome: Outcome, cpu_seconds: Mapping[str, float], memory_bytes: Mapping[str, int], calls: float
) -> Figures:
    """What one measurement gives.

    Args:
        outcome: what the callers got.
        cpu_seconds: CPU time that each process spent meanwhile.
        memory_bytes: the most resident memory of each process.
        calls: what LiveKit was asked meanwhile.
    """
    answers = max(1, outcome.answers)
    used = {**cpu_seconds, GENERATOR: outcome.cpu_seconds}
    problems = (
        f"{outcome.wrong} wrong, {outcome.failed} failed, {outcome.unanswered} unanswered "
        f"of {outcome.answers + outcome.wrong + outcome.failed + outcome.unanswered}: {outcome.problem}"
    )
    return Figures(
        per_second=outcome.per_second,
        p50_ms=outcome.p50 * 1e3,
        p99_ms=outcome.p99 * 1e3,
        cpu_us={name: seconds / answers * MILLION for name, seconds in used.items()},
        memory_mb={name: size / MILLION for name, size in memory_bytes.items()},
        upstream_calls=calls / answers,
        problems=() if outcome.is_clean else (problems,),
    )


def median_of(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure; the most memory, and all problems."""

    def middle(pick: Callable[[Figures], float]) -> float:
        return median(map(pick, rounds))

    def names(pick: Callable[[Figures], Mapping[str, float]]) -> list[str]:
        return list(dict.fromkeys(name for figures in rounds for name in pick(figures)))

    return Figures(
        per_second=middle(lambda one: one.per_second),
        p50_ms=middle(lambda one: one.p50_ms),
        p99_ms=middle(lambda one: one.p99_ms),
        cpu_us={
            name: median(one.cpu_us.get(name, 0.0) for one in rounds)
            for name in names(lambda one: one.cpu_us)
        },
        memory_mb={
            name: max(one.memory_mb.get(name, 0.0) for one in rounds)
            for name in names(lambda one: one.memory_mb)
        },
        upstream_calls=middle(lambda one: one.upstream_calls),
        problems=tuple(problem for one in rounds for problem in one.problems),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values are not above; 0 without any."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def fitted_exponent(points: Sequence[tuple[float, float]]) -> float:
    """The k of y = c·x^k that fits these points (x, y) best, by least squares of the logarithms.

    Raises ValueError for fewer than two different x, or for values that are not above 0.
    """
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    if not spread:
        raise ValueError("an exponent needs two different sizes")
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
