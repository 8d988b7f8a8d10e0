"""The rooms of a store belong to whom the tables say, and a caller's right list follows from that."""

import json
from collections import Counter

import pytest
from livekit.protocol.models import Room

from benchmarks.layout import SIZES, TENANTS, Store, tenant_name
from benchmarks.upstream import record_of
from service.ownership import owner_of


@pytest.mark.parametrize("rooms", SIZES)
@pytest.mark.parametrize("tenants", [1, TENANTS])
def test_the_owners_of_all_rooms_and_the_rooms_of_each_tenant_are_the_same_fact(
    rooms: int, tenants: int
) -> None:
    store = Store(rooms, tenants)
    counted = Counter(store.owner_of(number) for number in range(rooms))
    for tenant in range(tenants):
        assert counted[tenant_name(tenant)] == len(store.names_of(tenant))
        assert all(store.tenant_of(number) == tenant for number in store.numbers_of(tenant))


@pytest.mark.parametrize(("rooms", "own"), [(10, 10), (100, 10), (1_000, 100), (10_000, 100), (100_000, 100)])
def test_one_tenant_owns_as_many_rooms_as_the_targets_say(rooms: int, own: int) -> None:
    assert len(Store(rooms, 1).names_of(0)) == own


@pytest.mark.parametrize(("rooms", "own"), [(100, 1), (1_000, 15), (10_000, 100), (100_000, 100)])
def test_many_tenants_own_equally_many_rooms(rooms: int, own: int) -> None:
    store = Store(rooms, TENANTS)
    assert {len(store.names_of(tenant)) for tenant in range(TENANTS)} == {own}


def test_ten_rooms_go_to_the_first_ten_of_many_tenants() -> None:
    store = Store(10, TENANTS)
    assert [len(store.names_of(tenant)) for tenant in range(TENANTS)] == [1] * 10 + [0] * 54


def test_names_sort_as_they_are_listed() -> None:
    names = Store(10_000, TENANTS).names_of(7)
    assert names == sorted(names)


def test_a_stored_room_names_its_owner_in_valid_metadata() -> None:
    room = record_of(Room(turn_password="t"), "room-000001", 1, "tenant-00")
    assert owner_of(room.metadata) == "tenant-00"
    assert json.loads(room.metadata)["auth_id"] == "tenant-00"
    assert (room.name, room.turn_password) == ("room-000001", "t")
