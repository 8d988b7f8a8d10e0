"""Owns request ids: the caller's own where it is well formed, else a new one.

Step before: the caller, or nobody, has sent one. Step after: the id is in the logs of both processes, and in
the answer.
"""

import itertools
import re
import secrets
from collections.abc import Iterable
from typing import Final

_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestIds:
    """Gives each request its id. A new one is a random prefix of this process and a counter: next to free."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._counter = itertools.count(1)

    def choose(self, sent: Iterable[str]) -> str:
        """The id of a request: the one well-formed id among those that were sent with it, or a new one."""
        ids = set(sent)
        if len(ids) == 1 and _WELL_FORMED.fullmatch(value := ids.pop()):
            return value
        return f"{self._prefix}-{next(self._counter):x}"
