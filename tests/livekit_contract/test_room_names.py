"""Room names with every odd character: LiveKit takes them as they are, so they must reach it as they are."""

import json
import unicodedata

import pytest
from livekit.protocol import room as proto

from tests.livekit_contract.conftest import LiveKit

NFC = unicodedata.normalize("NFC", "café")
NFD = unicodedata.normalize("NFD", "café")

ODD_NAMES = [
    *("a/b", "/", "//", "a//b", ".", "..", "../..", "a\\b"),
    *("%2e", "%2F", "a%2fb", "%", "%00", "%zz", "%25"),
    *("a\x00b", "\x00", "a\nb", "\r\n", "\x1b[31m", "\x7f"),
    *(" ", "  ", "\t", " a ", "a b", "a+b", "+", "\u00a0", "\u200b", "\ufeff"),
    *(NFC, NFD, "ⅸ", "аdmin", "😀", "\u202ea", "\ufffd"),
    *("*", "[a-z]", "a?b=c&d", "a#b", "a:b", "{a}", "__proto__", '"', "'", "<b>&", "~", "null", "0"),
    *("x" * 256, "é" * 128, "😀" * 64),
    "",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name[:12]))
async def test_an_odd_name_is_kept_to_the_byte(livekit: LiveKit, name: str) -> None:
    made = await livekit.create_room(name, metadata="m")
    assert made.name == name
    assert await livekit.list_rooms(name) == [made]
    assert await livekit.list_participants(name) == []
    assert (await livekit.update_metadata(name, "changed")).sid == made.sid
    await livekit.delete_room(name)
    assert await livekit.list_rooms(name) == []


@pytest.mark.parametrize(
    ("name", "others"),
    [
        (NFC, [NFD, "cafe", "CAFÉ", NFC + " "]),
        (NFD, [NFC]),
        ("Room", ["room", "ROOM", " Room", "Room ", "Roo", "Room\x00"]),
        ("a%2Fb", ["a/b", "a%2fb", "a%252Fb"]),
        ("a+b", ["a b", "a%2Bb"]),
        ("*", ["anything"]),
        ("..", [".", "%2e%2e"]),
    ],
    ids=lambda value: ascii(value) if isinstance(value, str) else "",
)
async def test_only_the_exact_name_finds_a_room(livekit: LiveKit, name: str, others: list[str]) -> None:
    made = await livekit.create_room(name)
    assert await livekit.list_rooms(*others) == []
    assert await livekit.list_rooms(*others, name) == [made]


@pytest.mark.parametrize(
    "name", ["x" * 257, "é" * 128 + "x"], ids=["257 letters", "129 letters in 257 bytes"]
)
async def test_a_name_over_256_bytes_is_refused(livekit: LiveKit, name: str) -> None:
    answer = await livekit.call("CreateRoom", proto.CreateRoomRequest(name=name), roomCreate=True)
    assert answer.status == 400
    assert json.loads(answer.body) == {
        "code": "invalid_argument",
        "msg": "twirp error unknown: room name length exceeds limits: max length 256",
    }
    # To ask for such a name is no error.
    assert await livekit.list_rooms(name) == []
    assert await livekit.list_participants(name) == []
