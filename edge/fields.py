"""Owns the header fields of a request that the edge itself looks at, found in one pass over all of them.

Before it: `asgi`, which makes one for each request.
"""

from collections.abc import Iterable, Sequence
from typing import Final

_LOOKED_AT: Final = frozenset(
    {b"authorization", b"content-length", b"origin", b"transfer-encoding", b"x-request-id"}
)


class Fields:
    """The header fields of one request.

    Args:
        headers: names, in lower case, and values as they came.

    Attributes:
        size: the bytes of all fields, with the `: ` and the end of the line of each.
    """

    __slots__ = ("_values", "size")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        self.size = 0
        for name, value in headers:
            self.size += len(name) + len(value) + 4
            if name in _LOOKED_AT:
                self._values.setdefault(name, []).append(value)

    def __getitem__(self, name: bytes) -> Sequence[bytes]:
        """The value of every field of this name, which is one of those looked at."""
        return self._values.get(name, ())

    def first(self, name: bytes) -> bytes | None:
        """The value of the first field of this name, which is one of those looked at."""
        values = self._values.get(name)
        return values[0] if values else None
