"""The measured pass runs on the directory as it is."""

from livekit.protocol.room import ListRoomsResponse

from benchmarks.layout import Store
from benchmarks.scaling import measure_passes, prepared_bodies


async def test_a_pass_over_a_few_rooms_finds_the_tenants_own() -> None:
    measured = await measure_passes(100)  # raises when others are found
    assert measured.rooms == 100
    assert measured.first_ms > 0
    assert measured.later_ms > 0


def test_prepared_answers_have_the_same_rooms_in_other_orders_some_of_them_changed() -> None:
    first, second = (
        {room.name: room for room in ListRoomsResponse.FromString(body).rooms}
        for body in prepared_bodies(Store(1_000, 1))
    )
    assert first.keys() == second.keys()
    assert list(first) != list(second)
    assert sum(first[name] != second[name] for name in first) == 10
