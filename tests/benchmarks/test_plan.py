"""Which cells a form has, and that every target can be judged from the full one."""

import pytest

from benchmarks.plan import FULL, QUICK, Driver, Form, Kind, Peer, Protocol
from benchmarks.targets import TARGETS


@pytest.mark.parametrize("form", [FULL, QUICK], ids=lambda form: form.name)
def test_no_cell_is_measured_twice_in_a_round(form: Form) -> None:
    cells = form.cells()
    assert len(set(cells)) == len(cells)


def test_the_full_form_measures_every_cell_that_a_target_needs() -> None:
    cells = set(FULL.cells())
    for target in TARGETS:
        assert target.subject in cells, target.row
        assert target.yardstick is None or target.yardstick in cells, target.row


@pytest.mark.parametrize("form", [FULL, QUICK], ids=lambda form: form.name)
def test_a_store_is_filled_once_in_a_round_and_small_ones_come_first(form: Form) -> None:
    stores = [store for store, _ in form.by_store()]
    assert len(set(stores)) == len(stores)
    assert [store.rooms for store in stores] == sorted(store.rooms for store in stores)
    assert [cell for _, cells in form.by_store() for cell in cells] == form.cells()


def test_both_sides_of_a_ratio_have_the_same_load_generator() -> None:
    for target in TARGETS:
        if target.yardstick and target.subject.protocol is target.yardstick.protocol is Protocol.REST:
            assert target.subject.driver is target.yardstick.driver, target.row


def test_wrk_plays_rest_callers_of_quick_answers_only() -> None:
    for cell in FULL.cells():
        if cell.driver is Driver.WRK:
            assert cell.protocol is Protocol.REST
            assert cell.load.kind is not Kind.LIST or cell.load.rooms < 10_000 or cell.peer is Peer.MINIMIZE


def test_cells_say_what_they_are() -> None:
    texts = [str(cell) for cell in FULL.cells()]
    assert len(set(texts)) == len(texts)
    assert "list, 1,000 rooms, 64 callers of 64 tenants, plain, REST" in texts
    assert "list, 10 rooms, 1 caller, scan, Twirp" in texts
