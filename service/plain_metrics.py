"""Owns counts and histograms that cost next to nothing to change: plain numbers, until somebody looks.

prometheus-client's own take a lock for each change, which is several times dearer than the change. Here the
event loop's thread is the only one that writes, and whoever looks reads a copy.

Step before: `service.call_metrics` and `service.upstream_watch`. Step after: `service.metrics_listener`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds for how long something takes."""


class Counts:
    """A counter.

    Args:
        name: without `_total`.
        meaning: one sentence.
        labels: their names.
        known: label values that are shown from the start, as 0.
    """

    def __init__(
        self, name: str, meaning: str, labels: Sequence[str] = (), known: Iterable[tuple[str, ...]] = ()
    ) -> None:
        self._family = (name, meaning, tuple(labels))
        self.values: dict[tuple[str, ...], int] = dict.fromkeys(known if labels else [()], 0)

    def add(self, *values: str) -> None:
        """Counts one with these label values."""
        self.values[values] = self.values.get(values, 0) + 1

    def collect(self) -> Metric:
        """As it is now."""
        name, meaning, labels = self._family
        family = CounterMetricFamily(name, meaning, labels=labels)
        for values, count in list(self.values.items()):
            family.add_metric(values, count)
        return family


class Level:
    """A gauge without labels.

    Attributes:
        value: what it shows.
    """

    def __init__(self, name: str, meaning: str) -> None:
        self._family = (name, meaning)
        self.value = 0.0

    def collect(self) -> Metric:
        """As it is now."""
        return GaugeMetricFamily(*self._family, value=self.value)


class Histogram:
    """A histogram by one label.

    Args:
        name: with its unit.
        meaning: one sentence.
        label: its name.
        values: all that the label can be.
        bounds: upper bounds of the buckets, rising.
    """

    def __init__(
        self, name: str, meaning: str, label: str, values: Iterable[str], bounds: Sequence[float] = SECONDS
    ) -> None:
        self._family = (name, meaning, (label,))
        self._bounds = bounds
        self._counts = {value: [0] * (len(bounds) + 1) for value in values}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def observe(self, value: str, amount: float) -> None:
        """Takes in one amount, under this value of the label."""
        self._counts[value][bisect_left(self._bounds, amount)] += 1
        self._sums[value] += amount

    def collect(self) -> Metric:
        """As it is now."""
        name, meaning, labels = self._family
        family = HistogramMetricFamily(name, meaning, labels=labels)
        for value, counts in self._counts.items():
            total = 0
            buckets = []
            for bound, count in zip((*self._bounds, inf), list(counts), strict=True):
                total += count
                buckets.append((f"{bound:g}" if bound < inf else "+Inf", total))
            family.add_metric((value,), buckets=buckets, sum_value=self._sums[value])
        return family


class Collected(Collector):
    """Shows these in a registry."""

    def __init__(self, registry: CollectorRegistry, parts: Iterable[Counts | Level | Histogram]) -> None:
        self._parts = tuple(parts)
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All of them as they are now."""
        return (part.collect() for part in self._parts)
