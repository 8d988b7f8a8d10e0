"""Who looks for names that may be masked is remembered for as long as it may show, and no longer."""

import pytest

from service.auth.principal import AllRooms, OneTenant, TenantId
from service.searches import Searches

ACME, GLOBEX = OneTenant(TenantId("acme")), OneTenant(TenantId("globex"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1_000.0]
    monkeypatch.setattr("service.searches.time.monotonic", lambda: clock[0])
    return clock


def test_a_search_is_beside_the_calls_of_its_own_tenant_alone() -> None:
    searches = Searches()
    with searches.under_way(ACME), searches.under_way(ACME):
        assert searches.beside(ACME, 0.0)
        assert not searches.beside(GLOBEX, 0.0)
    assert not searches.beside(ACME, 0.0)


def test_one_of_two_searches_ends(clock: list[float]) -> None:
    searches = Searches()
    with searches.under_way(ACME):
        with searches.under_way(ACME):
            pass
        assert searches.beside(ACME, clock[0])


@pytest.mark.parametrize(
    ("began", "beside"), [(999.0, True), (1_000.0, True), (1_000.009, True), (1_000.011, False)]
)
def test_what_was_masked_is_beside_calls_that_began_before_or_just_after(
    clock: list[float], began: float, beside: bool
) -> None:
    searches = Searches()
    searches.masked(ACME)
    assert searches.beside(ACME, began) is beside


def test_nothing_is_hidden_from_who_sees_all_rooms(clock: list[float]) -> None:
    searches = Searches()
    searches.masked(AllRooms())
    with searches.under_way(AllRooms()):
        assert not searches.beside(AllRooms(), clock[0])


def test_the_oldest_are_forgotten_first(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.searches._MOST_SCOPES", 2)
    searches = Searches()
    for tenant in ("a", "b", "a", "c"):
        searches.masked(OneTenant(TenantId(tenant)))
    beside = [tenant for tenant in "abc" if searches.beside(OneTenant(TenantId(tenant)), clock[0])]
    assert beside == ["a", "c"]
