"""Rooms by name: callers share one question, and what is wrong with one name stays with that name."""

import asyncio
from collections.abc import Collection

import pytest
from livekit.protocol.models import Room

from service.errors import LiveKitFailed, LiveKitRefused, LiveKitTimedOut, LiveKitUnavailable
from service.named_rooms import NamedRooms, OwnedRoom
from service.ownership import owner_of
from service.room_records import by_asked_name
from tests.service.held_livekit import HeldLiveKit
from tests.service.recorded_rooms import RecordedLiveKit, room


def found(rooms: list[OwnedRoom | None]) -> list[str | None]:
    return [None if owned is None else owned.room.name for owned in rooms]


async def test_callers_that_come_during_a_question_share_the_next_one() -> None:
    livekit = HeldLiveKit(room("a", "acme"), room("b", "globex"))
    named = NamedRooms(livekit, owner_of)
    first = asyncio.create_task(named.find("a"))
    in_the_air = await livekit.until(1)
    late = [asyncio.create_task(named.find(name)) for name in ["b", "a", "absent", "b"] * 10]
    await asyncio.sleep(0)
    livekit.rooms["a"] = room("a", "globex", sid="RM_2")
    in_the_air.land()
    assert await first == OwnedRoom(room("a", "acme"), owner_of('{"auth_id": "acme"}'))
    (await livekit.until(2)).land()
    answers = await asyncio.gather(*late)
    assert found(answers) == ["b", "a", None, "b"] * 10
    assert answers[1] is not None
    assert answers[1].room.sid == "RM_2"
    assert sorted(livekit.readings[1].about) == ["a", "absent", "b"]
    assert len(livekit.readings) == 2


async def test_very_many_names_are_asked_for_in_several_questions() -> None:
    livekit = RecordedLiveKit(*(room(str(number)) for number in range(1_234)))
    named = NamedRooms(livekit, owner_of)
    answers = await asyncio.gather(*(named.find(str(number)) for number in range(1_300)))
    assert found(answers) == [*map(str, range(1_234)), *([None] * 66)]
    assert [len(names) for _, names in livekit.asked] == [500, 500, 300]


class Picky(RecordedLiveKit):
    """Fails at every question that names one of these rooms."""

    def __init__(self, failures: dict[str, Exception]) -> None:
        super().__init__(*(room(str(number), "acme") for number in range(64)))
        self.failing = failures

    async def list_rooms_named(self, names: Collection[str]) -> list[bytes]:
        self._ask("rooms", *names)
        for name in names:
            if name in self.failing:
                raise self.failing[name]
        return [self.rooms[name].SerializeToString() for name in names if name in self.rooms]


async def test_a_name_that_livekit_fails_at_never_fails_its_neighbours() -> None:
    livekit = Picky({"7": LiveKitFailed("a corrupt record"), "absent": LiveKitFailed("odd")})
    named = NamedRooms(livekit, owner_of)
    names = [*map(str, range(64)), "absent", "none"]
    answers = await asyncio.gather(*map(named.find, names), return_exceptions=True)
    failed = {name for name, answer in zip(names, answers, strict=True) if isinstance(answer, LiveKitFailed)}
    assert failed == {"7", "absent"}
    good = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert found(good) == [*(str(number) for number in range(64) if number != 7), None]
    assert len(livekit.asked) < 2 * len(names)


@pytest.mark.parametrize("failure", [LiveKitUnavailable, LiveKitTimedOut, LiveKitRefused])
async def test_a_failure_that_is_about_no_room_is_not_asked_about_again(failure: type[Exception]) -> None:
    livekit = Picky({"7": failure("down")})
    named = NamedRooms(livekit, owner_of)
    answers = await asyncio.gather(*(named.find(str(number)) for number in range(64)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {failure}
    assert len(livekit.asked) == 1


async def test_where_livekit_fails_at_everything_no_name_costs_more_than_two_questions() -> None:
    livekit = Picky({str(number): LiveKitFailed("broken") for number in range(64)})
    named = NamedRooms(livekit, owner_of)
    answers = await asyncio.gather(*(named.find(str(number)) for number in range(64)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {LiveKitFailed}
    assert len(livekit.asked) == 127


class Odd(RecordedLiveKit):
    """Answers every question by name with these rooms."""

    def __init__(self, *answer: Room) -> None:
        super().__init__()
        self.answer = answer

    async def list_rooms_named(self, names: Collection[str]) -> list[bytes]:
        self._ask("rooms", *names)
        return [room.SerializeToString() for room in self.answer]


async def test_rooms_that_were_not_asked_for_are_ignored() -> None:
    named = NamedRooms(Odd(room("b", "acme"), room("A", "acme"), room("a ", "acme")), owner_of)
    assert await named.find("a") is None
    named = NamedRooms(Odd(room("b"), room("a", "acme")), owner_of)
    assert await named.find("a") == OwnedRoom(room("a", "acme"), owner_of('{"auth_id": "acme"}'))


async def test_two_rooms_of_one_name_are_no_answer() -> None:
    named = NamedRooms(Odd(room("a", "acme"), room("a", "acme")), owner_of)
    with pytest.raises(LiveKitFailed):
        await named.find("a")


async def test_one_name_with_two_rooms_leaves_the_others_alone() -> None:
    class Twice(RecordedLiveKit):
        async def list_rooms_named(self, names: Collection[str]) -> list[bytes]:
            records = await super().list_rooms_named(names)
            return records + records[:1] if "a" in names else records

    named = NamedRooms(Twice(room("a"), room("b"), room("c")), owner_of)
    answers = await asyncio.gather(*map(named.find, "abc"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LiveKitFailed, OwnedRoom, OwnedRoom]


def test_names_are_compared_code_point_for_code_point() -> None:
    assert by_asked_name(["caf\u00e9"], ["cafe\u0301", "caf\u00e9", "CAF\u00c9"], str) == {
        "caf\u00e9": "caf\u00e9"
    }
