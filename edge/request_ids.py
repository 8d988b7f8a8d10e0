"""Owns request ids: the caller's own where it is well formed, else a new one.

Before it: `asgi`. The id goes to the service as metadata and back to the caller as `X-Request-Id`.
"""

import itertools
import re
import secrets
from collections.abc import Iterable
from typing import Final

_WELL_FORMED: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestIds:
    """Gives each request its id. A new one is a random prefix of this process and a counter: next to free."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._counter = itertools.count(1)

    def choose(self, sent: Iterable[bytes]) -> str:
        """The id of a request: the one well-formed id among the `X-Request-Id` values sent, or a new one."""
        ids = set(sent)
        if len(ids) == 1 and _WELL_FORMED.fullmatch(value := ids.pop()):
            return value.decode("ascii")
        return f"{self._prefix}-{next(self._counter):x}"
