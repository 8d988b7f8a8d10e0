"""Owns the edge's metrics: their names, labels and meaning, and where they can be read.

Read over HTTP in the process that started the workers, from the memory in which these count. No label holds
a room's name or anything that a caller sent.
Before it: `__main__`, at start. After it: `numbers`.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from math import inf
from typing import Final

from prometheus_client import CollectorRegistry, Info, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from common.addresses import HostPort
from common.version import package_version
from edge.numbers import (
    CODES,
    LIMITS,
    RELAY,
    ROUTES,
    RPCS,
    SECONDS,
    STATUSES,
    STORE,
    TIMED,
    Rows,
    Sums,
)

_NAMESPACE: Final = "tenantrooms_edge"


def registry_of(rows: Rows) -> CollectorRegistry:
    """What shows these rows, and the process that this is called in."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    Info("build", "What runs.", namespace=_NAMESPACE, registry=registry).info({"version": package_version()})
    registry.register(_Numbers(rows))
    return registry


def show_metrics(rows: Rows, address: HostPort) -> int:
    """Shows them at this address, in threads of its own, as long as this process runs; gives the port.

    Raises:
        OSError: the address could not be bound.
    """
    server, _ = start_http_server(address.port, addr=address.host, registry=registry_of(rows))
    return server.server_port


class _Numbers(Collector):
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        sums = self._rows.sums()
        yield _gauge("workers", "Worker processes.", sums.workers)
        yield _gauge("requests_in_flight", "Requests under way.", sums.in_flight)
        yield _gauge("relay_streams", "Workers with an open stream to the service.", sums.relay_open)
        yield _requests(sums)
        yield _durations(sums)
        yield _calls(sums)
        relay = CounterMetricFamily(
            f"{_NAMESPACE}_relay_opens", "Tries to open a stream to the service.", labels=["outcome"]
        )
        for outcome in RELAY:
            relay.add_metric([outcome], sums.relay_tries(outcome))
        yield relay
        refusals = CounterMetricFamily(
            f"{_NAMESPACE}_refusals", "Requests that are over a limit of the edge's.", labels=["limit"]
        )
        for limit in LIMITS:
            refusals.add_metric([limit], sums.refusals(limit))
        yield refusals
        store = CounterMetricFamily(
            f"{_NAMESPACE}_rate_store", "Questions to the Redis that counts requests.", labels=["outcome"]
        )
        for outcome in STORE:
            store.add_metric([outcome], sums.rate_store(outcome))
        yield store
        yield from _processes(self._rows.pids())


def _processes(pids: Mapping[int, int]) -> Iterator[Metric]:
    """What the workers use. Each place is a series of its own, so that a new worker begins at 0 there."""
    cpu = CounterMetricFamily(f"{_NAMESPACE}_worker_cpu_seconds", "CPU time of a worker.", labels=["worker"])
    memory = GaugeMetricFamily(
        f"{_NAMESPACE}_worker_resident_memory_bytes", "Resident memory of a worker.", labels=["worker"]
    )
    for place, pid in pids.items():
        # A worker that has just ended, or a system without /proc, has none of them.
        found = {
            family.name: family for family in ProcessCollector(pid=partial(int, pid), registry=None).collect()
        }
        for name, shown in (("process_cpu_seconds", cpu), ("process_resident_memory_bytes", memory)):
            if name in found:
                shown.add_metric([str(place)], found[name].samples[0].value)
    yield cpu
    yield memory


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_NAMESPACE}_{name}", meaning, value=value)


def _requests(sums: Sums) -> Metric:
    family = CounterMetricFamily(
        f"{_NAMESPACE}_requests", "Requests that were answered.", labels=["route", "status"]
    )
    for route in ROUTES:
        for status in STATUSES:
            family.add_metric([route, status], sums.requests(route, status))
    return family


def _durations(sums: Sums) -> Metric:
    family = HistogramMetricFamily(
        f"{_NAMESPACE}_request_duration_seconds", "How long requests took at the edge.", labels=["route"]
    )
    for route in TIMED:
        counts, seconds = sums.times(route)
        total, buckets = 0.0, []
        for bound, count in zip((*SECONDS, inf), counts, strict=True):
            total += count
            buckets.append((f"{bound:g}" if bound < inf else "+Inf", total))
        family.add_metric([route], buckets=buckets, sum_value=seconds)
    return family


def _calls(sums: Sums) -> Metric:
    family = CounterMetricFamily(
        f"{_NAMESPACE}_service_calls", "Calls of the service.", labels=["rpc", "code"]
    )
    for rpc in RPCS:
        for code in CODES:
            family.add_metric([rpc, code], sums.calls(rpc, code))
    return family
