"""Owns the metrics that are not of calls or questions: names, labels and meaning. And the registry of all.

What happens is told here by plain calls, one method for each kind of event: whoever tells is handed such a
method and knows nothing of Prometheus. `service.metrics_listener` shows the registry.

What is counted of calls and of questions is in `service.call_metrics` and `service.upstream_watch`. No label
holds the name of a room, and none the id of a tenant unless the operator wants so. Each label has few values,
there from the start, so that a rate can be told from the first event on.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, PlatformCollector, ProcessCollector

from common.version import package_version
from service.ownership import Ownerless
from service.places import Limit

_NAMESPACE: Final = "tenantrooms"


class Metrics:
    """What this process has counted and seen.

    Args:
        clock: Unix time in seconds.

    Attributes:
        registry: holds all of it.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("build", "What runs.", namespace=_NAMESPACE, registry=registry).info(
            {"version": package_version()}
        )
        self._rooms = _RoomGauges.of(registry)
        self._scans = Counter("scans", "Readings of all rooms.", namespace=_NAMESPACE, registry=registry)
        self._relay_streams = _gauge(registry, "relay_streams", "Streams from edges.")
        self._relay_calls = _gauge(registry, "relay_calls_in_flight", "Calls on these streams.")
        self._reloads = _counter(registry, "reloads", "Changes of files, taken up or refused.")
        self._reload_successful = _gauge(
            registry, "reload_last_successful", "1 if the last change of files was taken up, 0 if it was not."
        )
        self._reloaded_at = _time(registry, "reload_last_success", "what the files say was last taken up")
        self._key_set_fetches = _counter(
            registry, "key_set_fetches", "Fetches of the identity provider's keys."
        )
        self._key_set_fetched_at = _time(
            registry, "key_set_last_success", "the identity provider's keys were last fetched"
        )
        self._ready = _gauge(registry, "ready", "1 while LiveKit answers and accepts our key, else 0.")
        self._audit_records = _counter(registry, "audit_records", "Records of reads by operators.")
        refusals = Counter(
            "refusals", "Calls that are over a limit.", ["limit"], namespace=_NAMESPACE, registry=registry
        )
        self._refusals = {limit: refusals.labels(limit.value) for limit in Limit}
        self._rate_store = _counter(registry, "rate_store", "Questions to the Redis that counts calls.")
        self._reload_successful.set(1)  # what is read at start is good, or there is no start
        self._reloaded_at.set(clock())

    def rooms_scanned(self, owned: int, ownerless: Mapping[Ownerless, int]) -> None:
        """All rooms were read.

        Args:
            owned: how many have an owner.
            ownerless: how many have none, by reason; a reason that is missing has no room.
        """
        self._scans.inc()
        self._rooms.owned.set(owned)
        self._rooms.unowned.set(sum(ownerless.values()))
        for reason, gauge in self._rooms.by_reason.items():
            gauge.set(ownerless.get(reason, 0))
        self._rooms.scanned_at.set(self._clock())

    def reloaded(self, success: bool) -> None:
        """Changed files were taken up, or refused."""
        self._reloads[success].inc()
        self._reload_successful.set(success)
        if success:
            self._reloaded_at.set(self._clock())

    def key_set_fetched(self, success: bool) -> None:
        """The identity provider's keys were fetched, or could not be."""
        self._key_set_fetches[success].inc()
        if success:
            self._key_set_fetched_at.set(self._clock())

    def readiness_changed(self, ready: bool) -> None:
        """The service has become ready, or has ceased to be."""
        self._ready.set(ready)

    def audit_recorded(self, success: bool) -> None:
        """An operator's read was written into the audit log, or could not be."""
        self._audit_records[success].inc()

    def refused(self, limit: Limit) -> None:
        """A call was refused as it is over this limit."""
        self._refusals[limit].inc()

    def rate_store_asked(self, success: bool) -> None:
        """The Redis that counts calls was asked, and has answered or not."""
        self._rate_store[success].inc()

    def relay_is(self, streams: Callable[[], int], calls: Callable[[], int]) -> None:
        """Where the number of the relay's streams, and of the calls on them, can be read."""
        self._relay_streams.set_function(streams)
        self._relay_calls.set_function(calls)


class _RoomGauges(NamedTuple):
    owned: Gauge
    unowned: Gauge
    by_reason: Mapping[Ownerless, Gauge]
    scanned_at: Gauge

    @classmethod
    def of(cls, registry: CollectorRegistry) -> "_RoomGauges":
        rooms = _gauge(registry, "rooms", "Rooms, by whether they have an owner.", "owner")
        ownerless = _gauge(registry, "ownerless_rooms", "Rooms without an owner, by why.", "reason")
        return cls(
            rooms.labels("tenant"),
            rooms.labels("nobody"),
            {reason: ownerless.labels(reason.value) for reason in Ownerless},
            _time(registry, "scan_last_success", "all rooms, which are counted above, were last read"),
        )


def _counter(registry: CollectorRegistry, name: str, meaning: str) -> Mapping[bool, Counter]:
    """A counter of what succeeds (True) or fails."""
    counter = Counter(name, meaning, ["outcome"], namespace=_NAMESPACE, registry=registry)
    return {True: counter.labels("success"), False: counter.labels("failure")}


def _gauge(registry: CollectorRegistry, name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(name, meaning, labels, namespace=_NAMESPACE, registry=registry)


def _time(registry: CollectorRegistry, name: str, event: str) -> Gauge:
    meaning = f"When {event}, in Unix seconds; 0 is never."
    return _gauge(registry, f"{name}_timestamp_seconds", meaning)
