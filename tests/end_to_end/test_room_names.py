"""MATRIX C4: a room's name reaches LiveKit exactly, whatever characters it has."""

from urllib.parse import quote

import pytest

from tests.end_to_end.callers import ACME, Callers
from tests.support.real_livekit import RealLiveKit

ODD_NAMES = {
    "slash": "a/b",
    "double slash": "a//b",
    "leading slash": "/a",
    "dots": "..",
    "dot": ".",
    "dots and slashes": "../../etc",
    "encoded slash as text": "a%2Fb",
    "encoded dots as text": "%2e%2e",
    "percent": "100%",
    "plus": "a+b",
    "blank inside": "a b",
    "surrounding blanks": "  a  ",
    "control characters": "a\x01\x1b[31m\r\nb",
    "nul": "a\x00b",
    "query and fragment": "a?b=c&api_key=x#d",
    "nfc": "caf\u00e9",
    "nfd": "cafe\u0301",
    "astral": "\N{VIDEO CAMERA}",
    "quotes": "\"a'\\",
    "256 bytes": "\u00e9" * 128,
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
async def test_an_odd_name_is_found_exactly_and_nothing_else_is(
    walled: Callers, real_livekit: RealLiveKit, name: str
) -> None:
    room = await real_livekit.create_room(name, owner="acme")

    answer = await walled.rest_room(name, ACME)
    assert (answer.status, answer.json["name"], answer.json["sid"]) == (200, name, room.sid)
    assert await walled.rest_names(ACME) == [name]
    assert await walled.grpc_reason(name, ACME) == "ok"
    assert await walled.grpc_reason(quote(name, safe="") + "x", ACME) in {
        "ROOM_NOT_FOUND",
        "ROOM_NAME_TOO_LONG",
    }


async def test_nfc_and_nfd_are_two_rooms(walled: Callers, real_livekit: RealLiveKit) -> None:
    composed = await real_livekit.create_room("caf\u00e9", owner="acme")
    await real_livekit.create_room("cafe\u0301", owner="globex")
    assert (await walled.rest_room("caf\u00e9", ACME)).json["sid"] == composed.sid
    assert (await walled.rest_room("cafe\u0301", ACME)).status == 404


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/livekit/rooms/a/b", 404, "Not Found"),
        ("/livekit/rooms/", 404, "Not Found"),
        ("/livekit/rooms//a", 404, "Not Found"),
        ("//livekit/rooms/a", 404, "Not Found"),
        ("/livekit/rooms/%FF", 400, None),
        ("/livekit/rooms/%20", 400, "Room name cannot be empty"),
        ("/livekit/rooms/" + "%C3%A9" * 128 + "x", 400, None),
        ("/livekit/rooms/" + "x" * 257, 400, None),
    ],
)
async def test_a_path_that_is_no_room_gets_a_clean_answer(
    walled: Callers, path: str, status: int, text: str | None
) -> None:
    answer = await walled.rest(path, ACME)
    assert answer.status == status
    assert answer.json.keys() == {"error"}
    assert text is None or answer.json["error"] == text


async def test_a_path_is_decoded_once(walled: Callers, real_livekit: RealLiveKit) -> None:
    await real_livekit.create_room("a/b", owner="acme")
    assert (await walled.rest("/livekit/rooms/a%2Fb", ACME)).status == 200
    assert (await walled.rest("/livekit/rooms/a%252Fb", ACME)).status == 404
