"""Floods of records: so many of a kind at once, then so many a second, and a count of those left out."""

from common.floods import BURST, PER_SECOND, Floods


def through(floods: Floods, kind: str, records: int) -> list[dict[str, object]]:
    """Those that are written."""
    made: list[dict[str, object]] = [{} for _ in range(records)]
    return [record for record in made if floods.let_through(kind, record)]


def test_each_kind_has_a_burst_and_then_so_many_a_second() -> None:
    now = 100.0
    floods = Floods(lambda: now)
    assert len(through(floods, "a", 1000)) == BURST
    assert len(through(floods, "b", 1000)) == BURST
    now += 1
    assert len(through(floods, "a", 1000)) == PER_SECOND
    now += 3600
    assert len(through(floods, "a", 1000)) == BURST


def test_the_next_record_of_its_kind_says_once_how_many_were_left_out() -> None:
    now = 100.0
    floods = Floods(lambda: now)
    assert not any(through(floods, "a", 1000))
    now += 1
    assert through(floods, "b", 1) == [{}]
    assert through(floods, "a", 2) == [{"not_logged": 1000 - BURST}, {}]
