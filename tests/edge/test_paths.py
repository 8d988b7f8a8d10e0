"""MATRIX C4: which raw path is which route, and which name it asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.paths import PathNotUtf8Error, Target, find_target

ROOMS = b"/livekit/rooms/"
ROUTES = {
    b"/": "/",
    b"/livekit/rooms": "/livekit/rooms",
    b"/docs": "/docs",
    b"/docs/openapi.json": "/docs/openapi.json",
    b"/docs/assets/swagger-ui.css": "/docs/assets/swagger-ui.css",
    b"/livekit/r%6Foms": "/livekit/rooms",
}
NAMES = {
    b"plain": "plain",
    b"a%2Fb": "a/b",
    b"a%2fb": "a/b",
    b"%2F": "/",
    b"%2F%2F": "//",
    b".": ".",
    b"..": "..",
    b"%2e": ".",
    b"%2e%2e": "..",
    b"%2E%2E%2Fx": "../x",
    b"%252F": "%2F",
    b"%2500": "%00",
    b"%00": "\0",
    b"a+b": "a+b",
    b"a%2Bb": "a+b",
    b"%20": " ",
    b"%20a%20": " a ",
    b"caf%C3%A9": "caf\u00e9",
    b"cafe%CC%81": "cafe\u0301",
    b"%F0%9F%8E%A5": "\U0001f3a5",
    b"a%3Fb%23c%26d": "a?b#c&d",
    b"a;b=c,d": "a;b=c,d",
    b"%0D%0A": "\r\n",
    b"%": "%",
    b"%4": "%4",
    b"%zz": "%zz",
    b"-": "-",
    b"%C3%A9" * 128: "\u00e9" * 128,
    b"x" * 257: "x" * 257,
}
UNKNOWN = [
    b"",
    b"*",
    b"//",
    b"/livekit",
    b"/livekit/",
    b"/livekit/rooms/",
    b"//livekit/rooms",
    b"/livekit//rooms",
    b"/livekit/rooms//",
    b"/livekit/rooms//a",
    b"/livekit/rooms/a/",
    b"/livekit/rooms/a/b",
    b"/livekit/rooms/a/../b",
    b"/livekit/./rooms",
    b"/livekit%2Frooms",
    b"/livekit/rooms%2Fa",
    b"/Livekit/rooms",
    b"/livekit/rooms%20",
    b"livekit/rooms",
    b"/docs/",
    b"/docs/openapi.yaml",
    b"/docs/assets/",
    b"/docs/assets/LICENSE",
    b"/docs/assets/..%2Fswagger-ui.css",
    b"/docs/assets/../openapi.json",
    b"/docs/oauth2-redirect.html",
]
NOT_UTF8 = [b"%FF", b"%C3", b"a%C3%28", b"%ED%A0%80", b"%C0%AF", b"%F5%80%80%80", b"\xff"]


def find(raw_path: bytes) -> Target | None:
    return find_target(raw_path, {"swagger-ui.css"})


@pytest.mark.parametrize(("raw_path", "path"), ROUTES.items())
def test_a_known_path(raw_path: bytes, path: str) -> None:
    assert find(raw_path) == Target(path, calls_service=path == "/livekit/rooms")


@pytest.mark.parametrize(("raw", "name"), NAMES.items())
def test_a_name_is_decoded_once_and_not_changed(raw: bytes, name: str) -> None:
    target = find(ROOMS + raw)
    assert target is not None
    assert target.room_name == name
    assert target.path == "/livekit/rooms/-"
    assert target.calls_service


@pytest.mark.parametrize("raw_path", UNKNOWN)
def test_an_unknown_path(raw_path: bytes) -> None:
    assert find(raw_path) is None


@pytest.mark.parametrize("raw", NOT_UTF8)
@pytest.mark.parametrize("before", [ROOMS, b"/", b"/docs/assets/"])
def test_a_path_that_is_not_utf8(before: bytes, raw: bytes) -> None:
    with pytest.raises(PathNotUtf8Error):
        find(before + raw)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.data())
def test_any_name_comes_through_any_encoding(name: str, data: st.DataObject) -> None:
    raw = bytearray()
    for byte in name.encode():
        must = byte in b"/%" or byte > 0x7F
        raw += b"%%%02X" % byte if must or data.draw(st.booleans()) else bytes([byte])
    target = find(ROOMS + bytes(raw))
    assert target is not None
    assert target.room_name == name
