"""The shapes in which LiveKit answers over HTTP: protobuf, Twirp errors in JSON, and plain text.

`livekit_double` makes an answer, and a fault of `livekit_faults` may spoil it on its way out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

PROTOBUF = "application/protobuf"
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

# Twirp's own table: code → HTTP status.
TWIRP_STATUS = {
    "canceled": 408,
    "unknown": 500,
    "invalid_argument": 400,
    "malformed": 400,
    "deadline_exceeded": 408,
    "not_found": 404,
    "bad_route": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "unauthenticated": 401,
    "resource_exhausted": 429,
    "failed_precondition": 412,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "dataloss": 500,
}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, not yet sent."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def protobuf(body: bytes) -> Answer:
    """A success."""
    return Answer(200, PROTOBUF, body)


def twirp_error(
    code: str, message: str, meta: Mapping[str, str] | None = None, status: int | None = None
) -> Answer:
    """A Twirp error. Raises KeyError for a code that Twirp does not have, unless a status is given."""
    content: dict[str, object] = {"code": code, "msg": message}
    if meta:
        content["meta"] = dict(meta)
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # Go's encoder escapes what could be taken for HTML.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Answer(TWIRP_STATUS[code] if status is None else status, JSON, text.encode())


def wrapped_error(code: str, message: str) -> Answer:
    """An error of LiveKit's own; its server puts these words before every text of that kind."""
    return twirp_error(code, f"twirp error unknown: {message}")


def bad_route(method: str, path: str, message: str) -> Answer:
    """What Twirp says when it has no such method, verb or content type."""
    return twirp_error("bad_route", message, {"twirp_invalid_route": f"{method} {path}"})


def plain_text(status: int, text: str) -> Answer:
    """An answer that some layer before Twirp gave."""
    return Answer(status, TEXT, text.encode())


def page_not_found() -> Answer:
    """What Go's own HTTP server says to an unknown path."""
    return Answer(404, TEXT, b"404 page not found\n", {"X-Content-Type-Options": "nosniff"})
