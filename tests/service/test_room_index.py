"""The index of one whole reading: what is decoded, what is kept from the reading before, and whose it is."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.models import Room

from service.auth.principal import AllRooms, OneTenant, TenantId
from service.errors import LiveKitFailed
from service.ownership import Ownerless, owner_of
from service.room_index import RoomIndex
from tests.service.recorded_rooms import room
from tests.support.loop_turns import others_beside

OWNERS = ["acme", "Acme", "globex", None]


class Summaries:
    """Counts which rooms were summarized."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, room: Room) -> bytes:
        self.made.append(room.name)
        return f"{room.name}/{room.sid}/{room.num_participants}".encode()


class Owners:
    """The owner rule, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, metadata: str) -> TenantId | Ownerless:
        self.asked += 1
        return owner_of(metadata)


def records(rooms: Sequence[Room]) -> list[bytes]:
    return [room.SerializeToString() for room in rooms]


async def names(index: RoomIndex, owner: str | None) -> list[str]:
    scope = AllRooms() if owner is None else OneTenant(TenantId(owner))
    return [room.name for room in await index.rooms(scope)]


ROOMS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.tuples(st.sampled_from(OWNERS), st.integers(0, 2), st.sampled_from([0, 3_000])),
    max_size=12,
)


@given(st.lists(ROOMS, max_size=6))
async def test_an_index_made_of_the_one_before_is_that_of_its_own_reading(
    readings: list[dict[str, tuple[str | None, int, int]]],
) -> None:
    index = RoomIndex(owner_of, Summaries())
    for reading in readings:
        rooms = [
            Room(
                name=name,
                sid="RM_1",
                num_participants=people,
                metadata=json.dumps({"x": "x" * length} | ({} if owner is None else {"auth_id": owner})),
            )
            for name, (owner, people, length) in reading.items()
        ]
        index = await index.updated(records(rooms))
        assert len(index) == len(rooms)
        assert await names(index, None) == sorted(reading)
        for owner in ("acme", "Acme", "globex", "nobody"):
            own = sorted(name for name, (its, _, _) in reading.items() if its == owner)
            assert await names(index, owner) == own
            assert index.count(TenantId(owner)) == len(own)
        assert {room.name: room.summary for room in await index.rooms(AllRooms())} == {
            room.name: f"{room.name}/RM_1/{room.num_participants}".encode() for room in rooms
        }


async def test_only_rooms_that_changed_are_decoded() -> None:
    owners = Owners()
    rooms = [room(f"{number:04}", "acme") for number in range(1_500)]
    first = await RoomIndex(owners, Summaries()).updated(records(rooms))
    assert owners.asked == 1_500
    rooms[7] = room("0007", "globex")
    second = await first.updated(records(rooms[::-1]))
    assert owners.asked == 1_501
    assert await names(second, "globex") == ["0007"]
    assert await names(first, "globex") == []
    assert await names(second, "acme") == [room.name for room in rooms if room.name != "0007"]


async def test_the_same_rooms_in_another_order_are_the_same_index() -> None:
    rooms = [room(name, "acme") for name in "abc"]
    index = await RoomIndex(owner_of, Summaries()).updated(records(rooms))
    assert await index.updated(records(rooms[::-1])) is index
    assert await index.updated(records(rooms[:2])) is not index
    assert await names(await index.updated(records([rooms[0], rooms[0], rooms[1]])), None) == ["a", "b"]
    assert await names(await index.updated([]), None) == []


@pytest.mark.parametrize("length", [10, 5_000])
async def test_what_left_and_came_back_changed_is_read_anew(length: int) -> None:
    index = RoomIndex(owner_of, Summaries())
    for owner in ("acme", "globex", "acme"):
        changing = room("a", metadata=json.dumps({"auth_id": owner, "x": "x" * length}))
        index = await index.updated(records([changing, room("b", "acme")]))
        assert index.count(TenantId(owner)) == (2 if owner == "acme" else 1)


async def test_a_room_is_summarized_when_a_list_shows_it_and_then_kept() -> None:
    summaries = Summaries()
    index = RoomIndex(owner_of, summaries)
    for _ in range(3):
        index = await index.updated(records([room("a", "acme"), room("b", "globex")]))
        assert [room.summary for room in await index.rooms(OneTenant(TenantId("acme")))] == [b"a/RM_1/0"]
    assert summaries.made == ["a"]


async def test_a_large_record_is_recognized_without_being_kept() -> None:
    owners = Owners()
    large = room("a", metadata=json.dumps({"auth_id": "acme", "x": "x" * 100_000}))
    index = await RoomIndex(owners, Summaries()).updated(records([large]))
    assert await index.updated(records([large])) is index
    assert owners.asked == 1
    (listed,) = await index.rooms(AllRooms())
    assert listed.summary == b"a/RM_1/0"
    assert len(listed.key) < 200


async def test_ownerless_rooms_are_counted_by_reason() -> None:
    rooms = [room("a", metadata=""), room("b", metadata="{"), room("c", metadata="{} auth_id")]
    index = await RoomIndex(owner_of, Summaries()).updated(records(rooms))
    assert index.count(Ownerless.NO_METADATA) == 1
    assert sum(index.count(reason) for reason in Ownerless) == 3


async def test_a_record_that_is_no_room_makes_no_index() -> None:
    index = await RoomIndex(owner_of, Summaries()).updated(records([room("a", "acme")]))
    with pytest.raises(LiveKitFailed):
        await index.updated([*records([room("a", "acme")]), b"\xff"])
    with pytest.raises(LiveKitFailed):
        await index.recognized([b"\xff"])


HOSTILE = '{"auth_id":"a","x":[' + "[]," * 150_000 + "0]}"


@pytest.mark.parametrize(("count", "metadata"), [(20_000, "{}"), (3, HOSTILE)])
async def test_other_calls_get_their_turns_while_a_reading_is_taken_in(count: int, metadata: str) -> None:
    reading = records([room(str(number), metadata=metadata) for number in range(count)])
    async with others_beside() as turns:
        await RoomIndex(owner_of, Summaries()).updated(reading)
    assert turns.taken >= 2


async def test_other_calls_get_their_turns_while_known_large_records_are_recognized() -> None:
    reading = records([room(str(number), metadata="x" * 512 * 1024) for number in range(60)])
    index = await RoomIndex(owner_of, Summaries()).updated(reading)
    async with others_beside() as turns:
        assert await index.updated(reading) is index
    assert turns.taken >= 5
