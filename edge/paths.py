"""Owns which path is which route: the raw path, split on its literal slashes, each part decoded once.

Litestar routes on a decoded and tidied path, in which `%2F` is a slash and `//` is one slash; a room's
name would not survive that. So the routing is done here, and Litestar is handed a fixed path.
Before it: `asgi`. After it: the route's handler in `routes` or `docs`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

HOME_PATH: Final = "/"
LIST_PATH: Final = "/livekit/rooms"
DETAILS_PATH: Final = "/livekit/rooms/{room_name:str}"
LIVE_PATH: Final = "/livez"
READY_PATH: Final = "/readyz"
DOCS_PATH: Final = "/docs"
DOCUMENT_PATH: Final = "/docs/openapi.json"
ASSETS_PATH: Final = "/docs/assets"

# Stands for any room name in the path that Litestar sees; its handler takes the real one from the call.
DETAILS_PLACEHOLDER: Final = "/livekit/rooms/-"


class PathNotUtf8Error(Exception):
    """The path has a part that is not UTF-8 after percent-decoding."""


@dataclass(frozen=True, slots=True)
class Target:
    """A known route.

    Attributes:
        path: the path under which Litestar has the handler.
        room_name: the room's name exactly as the caller means it; empty on routes without one.
        calls_service: whether an answer takes a call to the service.
    """

    path: str
    room_name: str = ""
    calls_service: bool = False


_FIXED: Final = {
    tuple(path.split("/")): Target(path, calls_service=path == LIST_PATH)
    for path in (HOME_PATH, LIST_PATH, LIVE_PATH, READY_PATH, DOCS_PATH, DOCUMENT_PATH)
}


def find_target(raw_path: bytes, assets: Collection[str]) -> Target | None:
    """The route of a request, or None if there is none.

    Args:
        raw_path: the path as it was sent, without the query.
        assets: the names of the files under `/docs/assets`.

    Raises:
        PathNotUtf8Error: some part of the path is not UTF-8.
    """
    parts = tuple(_decode(part) for part in raw_path.split(b"/"))
    match parts:
        case ("", "livekit", "rooms", name) if name:
            return Target(DETAILS_PLACEHOLDER, room_name=name, calls_service=True)
        case ("", "docs", "assets", name) if name in assets:
            return Target(f"{ASSETS_PATH}/{name}")
        case _:
            return _FIXED.get(parts)


def _decode(part: bytes) -> str:
    try:
        return (unquote_to_bytes(part) if b"%" in part else part).decode()
    except UnicodeDecodeError:
        raise PathNotUtf8Error from None
