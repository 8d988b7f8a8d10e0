"""What all workers count together, in memory that they share."""

import multiprocessing
import os

import grpc

from edge.metrics import registry_of
from edge.numbers import CODES, LIMITS, ROUTES, SECONDS, STATUSES, STORE, TIMED, Row, Rows


def test_the_codes_are_grpcs() -> None:
    assert {code.name for code in grpc.StatusCode} == set(CODES)


def test_each_number_has_a_place_of_its_own() -> None:
    row, sums = claimed()
    for route in ROUTES:
        for at, status in enumerate(STATUSES[:-1]):
            for _ in range(at + 1):
                row.began()
                row.ended(route, int(status), 0.002)
    row.began()
    row.ended("other", 418, 0.1)
    row.called("GetRoom", "OK")
    found = sums()
    for route in ROUTES:
        assert [found.requests(route, status) for status in STATUSES[:-1]] == list(range(1, len(STATUSES)))
    assert found.requests("other", "other") == 1
    assert (found.in_flight, found.calls("GetRoom", "OK"), found.calls("ListRooms", "OK")) == (0, 1, 0)
    assert [found.relay_tries(outcome) for outcome in ("open", "nobody", "refused")] == [0, 0, 0]


def test_times_fall_into_their_buckets() -> None:
    row, sums = claimed()
    for seconds in (0.0, SECONDS[0], SECONDS[0] * 1.01, SECONDS[-1] * 2):
        row.ended("rooms", 200, seconds)
    counts, total = sums().times("rooms")
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (2, 1, 1, 4)
    assert round(total, 4) == round(SECONDS[0] * 2.01 + SECONDS[-1] * 2, 4)
    assert sum(sums().times(TIMED[1])[0]) == 0


def test_questions_to_the_rate_store_and_refusals_have_places_of_their_own() -> None:
    row, sums = claimed()
    for success in (True, False, False):
        row.rate_store_asked(success)
    row.refused(LIMITS[-1])
    found = sums()
    assert [found.rate_store(outcome) for outcome in STORE] == [1, 2]
    assert [found.refusals(limit) for limit in LIMITS] == [0] * (len(LIMITS) - 1) + [1]


def test_what_a_worker_uses_is_a_series_of_its_place_and_ends_with_it() -> None:
    rows = Rows(1)
    rows.claim()

    def shown() -> dict[str, dict[str, float]]:
        return {
            family.name: {sample.labels["worker"]: sample.value for sample in family.samples}
            for family in registry_of(rows).collect()
            if "_worker_" in family.name
        }

    names = {"tenantrooms_edge_worker_cpu_seconds", "tenantrooms_edge_worker_resident_memory_bytes"}
    assert set(shown()) == names
    for value in shown().values():
        assert set(value) == {"0"}
        assert value["0"] > 0
    gone = multiprocessing.get_context("fork").Process(target=rows.claim)
    gone.start()
    rows._owners[0] = gone.pid or 0
    gone.join()
    assert shown() == {name: {} for name in names}


def claimed() -> tuple[Row, "type"]:
    rows = Rows(1)
    return rows.claim(), rows.sums  # type: ignore[return-value]  # called like a class


def _work(rows: Rows, pids: "multiprocessing.Queue[int]") -> None:
    row = rows.claim()
    row.relay_tried("open")
    for _ in range(100):
        row.began()
        row.ended("rooms", 200, 0.01)
    row.began()  # is under way when the worker ends
    pids.put(os.getpid())


def test_what_workers_counted_outlives_them_and_what_was_under_way_does_not() -> None:
    context = multiprocessing.get_context("fork")
    rows, pids = Rows(2), context.Queue()
    for _ in range(12):  # more than there are rows
        worker = context.Process(target=_work, args=(rows, pids))
        worker.start()
        worker.join()
    assert rows.sums().requests("rooms", "200") == 1200
    assert (rows.sums().in_flight, rows.sums().relay_open, rows.sums().workers) == (0, 0, 0)
    assert rows.sums().relay_tries("open") == 12


def test_workers_at_once_have_rows_of_their_own() -> None:
    rows = Rows(1)
    rows.claim().began()
    rows._owners[0] = os.getppid()  # another process that lives
    rows.claim().began()
    assert (rows.sums().workers, rows.sums().in_flight) == (2, 2)


def test_a_worker_that_finds_no_row_counts_for_nobody() -> None:
    rows = Rows(1)
    for place in range(rows._count):
        rows._owners[place] = os.getppid()
    rows.claim().began()
    assert rows.sums().in_flight == 0
