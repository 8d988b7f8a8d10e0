"""Owns the memory of who looks for rooms that may be masked for them.

Step before: `service.named_rooms` asks for a name that is not known to be the caller's own. Step after:
`service.rooms` lets what the same tenant is shown meanwhile leave at an even time (ADR 14), as a question
about foreign rooms that exist takes some microseconds of LiveKit and of the event loop from others, too.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.auth.principal import AllRooms, Scope
from service.even_answers import STEP_SECONDS

_MOST_SCOPES: Final = 10_000
"""For whom something was masked; for one to be missed, so many others must come within the time of a call."""


class Searches:
    """Who looks for names that are not known to be their own, and when such a one was last masked.

    Nothing is masked from who may see all rooms, so these are not kept.
    """

    def __init__(self) -> None:
        self._under_way: Counter[Scope] = Counter()
        self._masked: dict[Scope, float] = {}

    @contextmanager
    def under_way(self, scope: Scope) -> Iterator[None]:
        """While the block runs, it is looked for such a name with this scope."""
        self._under_way[scope] += 1
        try:
            yield
        finally:
            self._under_way[scope] -= 1
            if not self._under_way[scope]:
                del self._under_way[scope]

    def masked(self, scope: Scope) -> None:
        """A name was masked with this scope just now, or may have been."""
        self._masked.pop(scope, None)
        self._masked[scope] = time.monotonic()
        if len(self._masked) > _MOST_SCOPES:
            del self._masked[next(iter(self._masked))]

    def beside(self, scope: Scope, began: float) -> bool:
        """Whether the time of an answer could tell of such a search, to a call that began then.

        Args:
            scope: the call's.
            began: by `time.monotonic()`.
        """
        if isinstance(scope, AllRooms):
            return False
        if scope in self._under_way:
            return True
        masked = self._masked.get(scope)
        # What was masked shortly before may have kept the loop from the call when it came.
        return masked is not None and masked >= began - STEP_SECONDS
