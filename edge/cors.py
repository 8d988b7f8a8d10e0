"""Owns which web origins may read the answers. None may unless they are set.

Before it: `asgi`, which adds these headers to every answer, refusals included.
"""

from collections.abc import Collection
from typing import Final

_EXPOSED: Final = (b"access-control-expose-headers", b"X-Request-Id, Retry-After, WWW-Authenticate")
_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"Authorization, X-Request-Id"),
    (b"access-control-max-age", b"600"),
)


class Cors:
    """The allowed origins.

    Credentials in the sense of CORS (cookies) are never allowed: a token is sent by the page itself.

    Args:
        origins: `scheme://host[:port]` each, or `*` for any.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def headers(self, origin: bytes | None, method: str) -> list[tuple[bytes, bytes]]:
        """The header fields that an answer to this origin carries."""
        if not self._origins:
            return []
        # What is sent differs by origin, so a cache must too, also for an origin that gets nothing.
        fields = [] if self._any else [(b"vary", b"Origin")]
        if origin is None or not (self._any or origin in self._origins):
            return fields
        fields += [(b"access-control-allow-origin", b"*" if self._any else origin), _EXPOSED]
        if method == "OPTIONS":
            fields += _PREFLIGHT
        return fields
