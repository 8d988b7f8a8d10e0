"""Welch's t-test, plain and as dudect uses it: whether two sets of times differ more than by chance.

Dudect (Reparaz, Balasch and Verbauwhede, 2017) repeats the test on times below various percentiles, as the
slow tail of a computer that also does other things hides small differences. It takes |t| over 4.5 for a
difference.
"""

import math
import statistics
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, combinations

LEAK = 4.5
CROPS = 100
FEWEST = 100
"""Fewer times than this on one side of a cropped test say nothing."""


class _Sums:
    """Count, sum and sum of squares of the first so many of some times, in ascending order."""

    def __init__(self, times: Sequence[float], middle: float) -> None:
        self.ascending = sorted(times)
        moved = [time - middle for time in self.ascending]  # else the squares would swallow small differences
        self.sums = [0.0, *accumulate(moved)]
        self.squares = [0.0, *accumulate(time * time for time in moved)]

    def mean_and_error(self, count: int) -> tuple[float, float]:
        """The mean, less the middle, and the square of its standard error."""
        mean = self.sums[count] / count
        variance = max(0.0, (self.squares[count] - count * mean * mean) / (count - 1))
        return mean, variance / count


def welch_t(first: Sequence[float], second: Sequence[float]) -> float:
    """Welch's t: below 0 when the first mean is the smaller; 0 when nothing varies and nothing differs."""
    middle = statistics.median(first)
    return _t(_Sums(first, middle), len(first), _Sums(second, middle), len(second))


def _t(first: _Sums, count: int, second: _Sums, second_count: int) -> float:
    mean, error = first.mean_and_error(count)
    second_mean, second_error = second.mean_and_error(second_count)
    difference = mean - second_mean
    if error + second_error:
        return difference / math.sqrt(error + second_error)
    return math.copysign(math.inf, difference) if difference else 0.0


def cropped_t(first: Sequence[float], second: Sequence[float]) -> float:
    """The t farthest from 0 of those without the times over each of a hundred percentiles of both."""
    pooled = sorted([*first, *second])
    middle = pooled[len(pooled) // 2]
    sums = _Sums(first, middle), _Sums(second, middle)
    found = [0.0]
    for step in range(1, CROPS + 1):
        most = pooled[min(len(pooled) - 1, int(len(pooled) * (1 - 0.5 ** (10 * step / CROPS))))]
        kept = [bisect_right(some.ascending, most) for some in sums]
        if min(kept) >= FEWEST:
            found.append(_t(sums[0], kept[0], sums[1], kept[1]))
    return max(found, key=abs)


def compared(times: Mapping[str, Sequence[float]]) -> list[tuple[str, float, float]]:
    """Each pair, as "a, b", with both of its t."""
    return [
        (f"{a}, {b}", welch_t(times[a], times[b]), cropped_t(times[a], times[b]))
        for a, b in combinations(times, 2)
    ]
