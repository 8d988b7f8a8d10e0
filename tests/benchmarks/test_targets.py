"""A target is met, missed or not measured, as the figures say."""

import pytest

from benchmarks.figures import Figures
from benchmarks.plan import Cell, Kind, Load, Peer, Protocol
from benchmarks.run import Results
from benchmarks.targets import TARGETS, Target, judge


def target(row: str, text: str) -> Target:
    (found,) = [each for each in TARGETS if (each.row, each.text) == (row, text)]
    return found


LATENCY = target("list, 1,000 rooms, 1 caller", "p50 ≤ 0.85× plain")
THROUGHPUT = target("list, 1,000 rooms, 64 callers", "throughput ≥ 18× plain")
SCANS = target("list, 100,000 rooms, 64 callers", "p99 ≤ 3 scans")
ANSWERED = target("list, 100,000 rooms, 64 callers", "every call answered")
MEMORY = target("memory of the service, 100,000 rooms", "≤ 300 MB")


def figures(
    per_second: float = 0.0, p50: float = 0.0, p99: float = 0.0, memory: float = 0.0, *problems: str
) -> Figures:
    return Figures(per_second, p50, p99, memory_mb={"service": memory}, problems=problems)


def results(of: Target, subject: list[Figures], yardstick: list[Figures]) -> Results:
    found = {of.subject: subject}
    return found | ({of.yardstick: yardstick} if of.yardstick else {})


@pytest.mark.parametrize(("p50", "met"), [(8.4, True), (8.6, False)])
def test_a_latency_is_met_up_to_its_bound(p50: float, met: bool) -> None:
    verdict = judge(LATENCY, results(LATENCY, [figures(p50=p50)], [figures(p50=10.0)]))
    assert verdict.measured == pytest.approx(p50 / 10)
    assert verdict.met is met


@pytest.mark.parametrize(("per_second", "met"), [(1_800.0, True), (1_799.0, False)])
def test_a_throughput_is_met_from_its_bound_on(per_second: float, met: bool) -> None:
    verdict = judge(THROUGHPUT, results(THROUGHPUT, [figures(per_second)], [figures(100.0)]))
    assert verdict.met is met


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    subject = [figures(2_000.0), figures(1_000.0), figures(3_000.0)]
    yardstick = [figures(100.0), figures(10.0), figures(50.0)]
    assert judge(THROUGHPUT, results(THROUGHPUT, subject, yardstick)).measured == 60.0


def test_the_slowest_answers_are_compared_with_the_usual_scan() -> None:
    verdict = judge(SCANS, results(SCANS, [figures(p50=9.0, p99=29.0)], [figures(p50=10.0, p99=90.0)]))
    assert (verdict.measured, verdict.met) == (2.9, True)


@pytest.mark.parametrize(
    ("memory", "worst", "met"), [([280.0, 299.0], 299.0, True), ([100.0, 301.0], 301.0, False)]
)
def test_memory_counts_at_its_worst(memory: list[float], worst: float, met: bool) -> None:
    verdict = judge(MEMORY, results(MEMORY, [figures(memory=each) for each in memory], []))
    assert (verdict.measured, verdict.met) == (worst, met)


def test_a_wrong_answer_misses_the_target_however_fast_it_was() -> None:
    spoilt = figures(9_000.0, 0.0, 0.0, 0.0, "1 wrong")
    assert judge(THROUGHPUT, results(THROUGHPUT, [spoilt], [figures(100.0)])).met is False
    assert judge(ANSWERED, results(ANSWERED, [figures(), spoilt], [])).met is False
    assert judge(ANSWERED, results(ANSWERED, [figures()], [])).met is True


def test_a_yardstick_that_failed_proves_nothing() -> None:
    broken = figures(1.0, 0.0, 0.0, 0.0, "9 failed")
    assert judge(THROUGHPUT, results(THROUGHPUT, [figures(9_000.0)], [broken])).met is None


def test_what_was_left_out_is_not_measured() -> None:
    verdict = judge(THROUGHPUT, {})
    assert (verdict.measured, verdict.met) == (None, None)


@pytest.mark.parametrize(
    ("rooms", "tenants", "bound"),
    [
        (10, 1, 6),
        (100, 1, 8),
        (1_000, 1, 18),
        (10_000, 1, 60),
        (10, 64, 4),
        (100, 64, 4),
        (1_000, 64, 15),
        (10_000, 64, 50),
    ],
)
def test_lists_have_the_bounds_of_the_design(rooms: int, tenants: int, bound: float) -> None:
    load = Load(Kind.LIST, rooms, tenants, 64)
    (found,) = [each for each in TARGETS if each.subject == Cell(load, Peer.TENANTROOMS, Protocol.REST)
                and each.yardstick == Cell(load, Peer.PLAIN, Protocol.REST)]  # fmt: skip
    assert found.bound == bound
