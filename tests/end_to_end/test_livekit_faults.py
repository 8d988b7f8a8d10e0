"""What callers get when LiveKit misbehaves, and that no text of LiveKit's reaches them."""

from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import Message
from livekit.protocol.models import Room
from livekit.protocol.room import ListRoomsResponse

from tests.end_to_end.callers import ACME, Callers
from tests.end_to_end.conftest import running
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import (
    Alter,
    EndlessBody,
    Fault,
    GzipBomb,
    PlainText,
    RawBody,
    Reset,
    Run,
    Truncate,
    TwirpError,
)

CANARY = "redis: connection to 10.1.2.3 lost"
FAULTS = {
    "twirp error": TwirpError("internal", CANARY),
    "twirp unavailable": TwirpError("unavailable", CANARY),
    "key refused": TwirpError("unauthenticated", CANARY),
    "key refused in plain text": PlainText(401, CANARY),
    "body refused": PlainText(413, CANARY),
    "html": RawBody(f"<html>{CANARY}</html>".encode(), content_type="text/html"),
    "no protobuf": RawBody(b"\xff" + CANARY.encode()),
    "truncated": Truncate(),
    "reset": Reset(),
    "endless": EndlessBody(),
    "gzip bomb": GzipBomb(),
    "redirect": RawBody(b"", status=302, headers={"Location": f"http://127.0.0.1/{CANARY}"}),
}
NOT_FOUND = {"error": "Room not found or not accessible"}


@pytest.fixture(scope="module")
async def double_and_callers(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[LiveKitDouble, Callers]]:
    settings = {"AUTH_REQUIRED": "true", "TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES": str(2**20)}
    async with LiveKitDouble() as double:
        double.put_room("own", owner="acme")
        double.put_participant("own", "somebody")
        double.put_room("foreign", owner="globex")
        async with running(double, tmp_path_factory.mktemp("faults"), settings) as callers:
            yield double, callers


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_failed_call_to_livekit_is_a_constant_500(
    double: LiveKitDouble, callers: Callers, fault: Fault
) -> None:
    for failing, path, text in (
        ("ListRooms", "/livekit/rooms", "Failed to list rooms"),
        ("ListRooms", "/livekit/rooms/own", "Failed to get room details"),
        ("ListParticipants", "/livekit/rooms/own", "Failed to get room details"),
    ):
        double.heal()
        double.script_always(failing, fault)
        answer = await callers.rest(path, ACME)
        assert (answer.status, answer.json) == (500, {"error": text})
        assert CANARY not in repr(answer)
    double.heal()
    assert (await callers.rest("/livekit/rooms/own", ACME)).status == 200


async def test_a_room_gone_between_the_two_calls_is_masked_as_an_absent_one(
    double: LiveKitDouble, callers: Callers
) -> None:
    """MATRIX U8."""
    double.script("ListParticipants", TwirpError("not_found", CANARY))
    gone = await callers.rest("/livekit/rooms/own", ACME)
    absent = await callers.rest("/livekit/rooms/absent", ACME)
    assert (gone.status, gone.json) == (404, NOT_FOUND)
    assert gone.body == absent.body
    assert [name for name, _ in gone.headers] == [name for name, _ in absent.headers]


async def test_rooms_that_were_not_asked_for_are_ignored(double: LiveKitDouble, callers: Callers) -> None:
    """MATRIX U7: another room of the caller's in place of the one asked for, and more than it asked for."""
    other = Room(sid="RM_other", name="other", metadata='{"auth_id":"acme"}')
    foreign = double.room("foreign")

    def replaced(answer: Message) -> None:
        assert isinstance(answer, ListRoomsResponse)
        del answer.rooms[:]
        answer.rooms.extend([other, foreign])

    def extended(answer: Message) -> None:
        assert isinstance(answer, ListRoomsResponse)
        answer.rooms.extend([other, foreign])

    double.script("ListRooms", Alter(replaced))
    answer = await callers.rest("/livekit/rooms/own", ACME)
    assert (answer.status, answer.json) == (404, NOT_FOUND)

    double.script("ListRooms", Alter(extended), Alter(extended))
    answer = await callers.rest("/livekit/rooms/own", ACME)
    assert (answer.status, answer.json["name"]) == (200, "own")
    assert b"foreign" not in answer.body


@pytest.mark.parametrize("change", ["recreated", "given away"])
async def test_a_room_that_changed_hands_while_its_participants_were_read_is_masked(
    double: LiveKitDouble, callers: Callers, change: str
) -> None:
    def happen() -> None:
        if change == "recreated":
            double.remove_room("short")
            double.put_room("short", owner="acme")
            double.put_participant("short", "someone-else")
        else:
            double.give_room("short", "globex")

    double.put_room("short", owner="acme")
    double.put_participant("short", "somebody")
    double.script("ListParticipants", Run(after=happen))
    try:
        answer = await callers.rest("/livekit/rooms/short", ACME)
        assert (answer.status, answer.json) == (404, NOT_FOUND)
    finally:
        double.remove_room("short")


async def test_masked_rooms_cost_one_upstream_call_each(double: LiveKitDouble, callers: Callers) -> None:
    for name in ("foreign", "absent"):
        double.forget()
        assert (await callers.rest_room(name, ACME)).status == 404
        assert [(call.method, call.names) for call in double.requests] == [("ListRooms", [name])]


async def test_livekit_is_found_again_when_it_returns(double: LiveKitDouble, callers: Callers) -> None:
    await double.stop()
    try:
        away = await callers.rest("/livekit/rooms", ACME)
        assert (away.status, away.json) == (500, {"error": "Failed to list rooms"})
    finally:
        await double.start()
    assert await callers.rest_names(ACME) == ["own"]


async def test_without_livekit_credentials_every_question_says_so(
    tmp_path_factory: pytest.TempPathFactory, double: LiveKitDouble
) -> None:
    settings = {"AUTH_REQUIRED": "true", "LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}
    async with running(double, tmp_path_factory.mktemp("unconfigured"), settings) as callers:
        for path in ("/livekit/rooms", "/livekit/rooms/own"):
            answer = await callers.rest(path, ACME)
            assert (answer.status, answer.json) == (500, {"error": "LiveKit service not configured"})
            assert (await callers.rest(path)).status == 401
    assert double.requests == []
