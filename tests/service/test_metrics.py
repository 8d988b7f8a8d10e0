"""The metrics: what each event changes, and what is there before any."""

from collections import Counter

from service.metrics import Metrics
from service.ownership import Ownerless

NOW = 1_795_000_000.0


class Clock:
    """Unix time, which stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"tenantrooms_{name}", labels)


def outcomes(metrics: Metrics, name: str) -> tuple[float | None, float | None]:
    return value(metrics, name, outcome="success"), value(metrics, name, outcome="failure")


def test_every_label_is_there_before_anything_has_happened() -> None:
    metrics = Metrics()
    assert {value(metrics, "ownerless_rooms", reason=reason.value) for reason in Ownerless} == {0}
    assert {value(metrics, "rooms", owner=owner) for owner in ("tenant", "nobody")} == {0}
    for name in ("reloads_total", "key_set_fetches_total", "audit_records_total"):
        assert outcomes(metrics, name) == (0, 0)


def test_the_counts_of_rooms_are_those_of_the_last_scan() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    assert value(metrics, "scan_last_success_timestamp_seconds") == 0
    metrics.rooms_scanned(7, Counter({Ownerless.NOT_JSON: 2, Ownerless.NO_METADATA: 1}))
    assert value(metrics, "rooms", owner="tenant") == 7
    assert value(metrics, "rooms", owner="nobody") == 3
    assert value(metrics, "ownerless_rooms", reason="not_json") == 2
    assert value(metrics, "scan_last_success_timestamp_seconds") == NOW
    clock.now += 1
    metrics.rooms_scanned(8, {Ownerless.NO_METADATA: 1})
    assert value(metrics, "rooms", owner="tenant") == 8
    assert value(metrics, "rooms", owner="nobody") == 1
    assert value(metrics, "ownerless_rooms", reason="not_json") == 0
    assert value(metrics, "ownerless_rooms", reason="no_metadata") == 1
    assert value(metrics, "scan_last_success_timestamp_seconds") == NOW + 1


def test_a_refused_reload_shows_until_the_next_good_one() -> None:
    clock = Clock()
    metrics = Metrics(clock)
    state = ("reload_last_successful", "reload_last_success_timestamp_seconds")
    assert [value(metrics, name) for name in state] == [1, NOW]  # what was read at start
    clock.now += 1
    metrics.reloaded(False)
    assert [value(metrics, name) for name in state] == [0, NOW]
    metrics.reloaded(True)
    assert [value(metrics, name) for name in state] == [1, NOW + 1]
    assert outcomes(metrics, "reloads_total") == (1, 1)


def test_fetches_of_keys_are_counted_by_outcome() -> None:
    metrics = Metrics(Clock())
    metrics.key_set_fetched(False)
    assert value(metrics, "key_set_last_success_timestamp_seconds") == 0
    metrics.key_set_fetched(True)
    assert value(metrics, "key_set_last_success_timestamp_seconds") == NOW
    assert outcomes(metrics, "key_set_fetches_total") == (1, 1)


def test_audit_records_are_counted_by_outcome() -> None:
    metrics = Metrics()
    metrics.audit_recorded(True)
    metrics.audit_recorded(True)
    metrics.audit_recorded(False)
    assert outcomes(metrics, "audit_records_total") == (2, 1)


def test_two_of_them_share_nothing() -> None:
    one, other = Metrics(), Metrics()
    one.audit_recorded(True)
    assert outcomes(other, "audit_records_total") == (0, 0)


def test_the_process_itself_is_among_them() -> None:
    registry = Metrics().registry
    assert registry.get_sample_value("process_start_time_seconds")
    names = {family.name for family in registry.collect()}
    assert {"python_info", "tenantrooms_build"} <= names
