"""Owns how many records of one kind are written when there is a flood of them.

Step before: `service.call_log` and `edge.watch` have a record of what did not go well. Step after: the log.
"""

from collections.abc import Callable, Hashable
from time import monotonic
from typing import Final

BURST: Final = 20
PER_SECOND: Final = 10.0
"""So many records of one kind are written at once, and then each second."""


class Floods:
    """Says of each record whether it is to be written.

    Args:
        clock: rises by 1 a second.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._of_kind: dict[Hashable, _Flood] = {}

    def let_through(self, kind: Hashable, record: dict[str, object]) -> bool:
        """Whether this record is to be written; it is told in `not_logged` how many like it were not.

        Args:
            kind: one of few: each is remembered.
            record: is changed.
        """
        now = self._clock()
        flood = self._of_kind.get(kind)
        if flood is None:
            flood = self._of_kind[kind] = _Flood(now)
        if not flood.passes(now):
            return False
        if flood.held_back:
            record["not_logged"] = flood.held_back
            flood.held_back = 0
        return True


class _Flood:
    """How many records of one kind may be written now."""

    __slots__ = ("at", "held_back", "left")

    def __init__(self, now: float) -> None:
        self.left = float(BURST)
        self.at = now
        self.held_back = 0

    def passes(self, now: float) -> bool:
        self.left = min(BURST, self.left + (now - self.at) * PER_SECOND)
        self.at = now
        if self.left < 1:
            self.held_back += 1
            return False
        self.left -= 1
        return True
