"""Owns which credentials the service has just refused, so that a flood of them costs it nothing.

Before it: `rooms` has such a refusal; `admission` asks before it takes a place. There is no step after.
"""

from collections.abc import Callable
from math import ceil
from time import monotonic
from typing import Final

REMEMBERED_SECONDS: Final = 1.0
"""For how long at most a refusal of the service's is given without asking it again."""

MOST_REMEMBERED: Final = 4096
"""Refusals that are remembered at a time; the oldest are forgotten first."""


class KnownRefusals:
    """Credentials that the service has just refused, whatever would be asked with them.

    Who floods costs the way to the service once in a while, and not with each request. It is remembered for
    a second at most, though the wait may be longer: a window that slides lets some calls pass before its end.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        # When it is forgotten, and when the service may be asked again; the oldest first.
        self._until: dict[bytes, tuple[float, float]] = {}

    def __len__(self) -> int:
        """How many are held, also such as are over."""
        return len(self._until)

    def add(self, credential: bytes, seconds: int) -> None:
        """This one was refused now, for so many seconds."""
        now = self._clock()
        self._until.pop(credential, None)
        self._until[credential] = now + min(seconds, REMEMBERED_SECONDS), now + seconds
        while len(self._until) > MOST_REMEMBERED or next(iter(self._until.values()))[0] <= now:
            del self._until[next(iter(self._until))]

    def seconds_left(self, credential: bytes) -> int | None:
        """For how long this one is refused; None where the service has to be asked."""
        until = self._until.get(credential)
        if until is None:
            return None
        now = self._clock()
        if until[0] <= now:
            del self._until[credential]
            return None
        return max(1, ceil(until[1] - now))
