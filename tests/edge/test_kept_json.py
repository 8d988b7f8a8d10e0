"""JSON that is kept: the same answer gives the same JSON, another answer never."""

import json
from collections.abc import Iterable

import pytest
from google.protobuf.message import DecodeError

from edge import kept_json
from edge.kept_json import Kept, RoomsJson
from edge.room_json import details_json, list_json, participants_json
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.support.loop_turns import others_beside


def page(*names: str, following: str = "") -> bytes:
    rooms = [pb.RoomSummary(name=name) for name in names]
    return pb.ListRoomsResponse(rooms=rooms, next_page_token=following).SerializeToString()


def details(name: str, sid: str = "RM_1") -> pb.GetRoomResponse:
    return pb.GetRoomResponse(room=pb.Room(name=name, sid=sid))


async def test_a_page_gives_its_own_rooms_and_token_however_often_it_comes() -> None:
    rooms_json = RoomsJson()
    for _ in range(2):
        for names, following in ((["a", "b"], "1"), (["a", "b"], "2"), (["a"], "1"), ([], "")):
            piece, token = await rooms_json.of_page(page(*names, following=following))
            assert [room["name"] for room in json.loads(list_json([piece]))["rooms"]] == names
            assert token == following


def as_json(answer: pb.GetRoomResponse) -> bytes:
    return details_json(answer.room, [participants_json(answer.participants)] if answer.participants else [])


async def test_details_are_those_of_the_answer_however_often_it_comes() -> None:
    rooms_json = RoomsJson()
    for _ in range(2):
        for answer in (details("a"), details("b"), details("a", "RM_2")):
            assert await rooms_json.of_details(answer.SerializeToString()) == as_json(answer)


@pytest.mark.parametrize("count", [1, 2, 500])
@pytest.mark.parametrize("attributes", [{}, {str(number): "v" for number in range(100)}])
async def test_many_or_large_participants_are_encoded_in_turns_with_other_requests(
    count: int, attributes: dict[str, str]
) -> None:
    answer = details("a")
    for number in range(count):
        answer.participants.add(identity=f"user-{number}", metadata="m" * 100, attributes=attributes)
    encoded = answer.SerializeToString()
    async with others_beside() as turns:
        first, second = [await RoomsJson().of_details(encoded) for _ in range(2)]
    assert first == second == as_json(answer)
    assert turns.taken >= 2 * (len(encoded) // 65_536 - 1)
    if count < 3:
        assert turns.taken == 0, "usual rooms wait for nobody"


async def test_an_answer_that_comes_again_is_not_made_into_json_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[pb.Room] = []

    def counted(room: pb.Room, pieces: Iterable[bytes]) -> bytes:
        made.append(room)
        return details_json(room, pieces)

    monkeypatch.setattr(kept_json, "details_json", counted)
    rooms_json = RoomsJson()
    answers = [details("a").SerializeToString() for _ in range(3)]
    assert len({await rooms_json.of_details(answer) for answer in answers}) == 1
    assert made == [details("a").room]


@pytest.mark.parametrize("answer", [b"\xff", b"\x0a\x7f"])
async def test_what_is_no_answer_is_refused_each_time(answer: bytes) -> None:
    rooms_json = RoomsJson()
    for _ in range(2):
        with pytest.raises(DecodeError):
            await rooms_json.of_page(answer)
        with pytest.raises(DecodeError):
            await rooms_json.of_details(answer)


def test_what_was_not_asked_for_the_longest_makes_room() -> None:
    kept: Kept[int] = Kept(most=3 * (10 + kept_json.ENTRY_BYTES))
    for number, answer in enumerate((b"a" * 10, b"b" * 10, b"c" * 10)):
        kept.keep(answer, number)
    assert kept.get(b"a" * 10) == 0
    kept.keep(b"d" * 10, 3)
    assert [kept.get(each * 10) for each in (b"a", b"b", b"c", b"d")] == [0, None, 2, 3]


def test_an_answer_that_would_push_out_hundreds_is_not_kept() -> None:
    kept: Kept[int] = Kept()
    kept.keep(b"small", 1)
    kept.keep(bytes(kept_json.LARGEST_KEPT + 1), 2)
    assert kept.get(bytes(kept_json.LARGEST_KEPT + 1)) is None
    assert kept.get(b"small") == 1
