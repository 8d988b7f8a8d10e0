"""Owns how many records of one kind are written when there is a flood of them.

Step before: `service.call_log` and `edge.watch` have a record of what did not go well. Step after: the log.
"""

import asyncio
from collections.abc import Callable, Hashable
from contextvars import Context
from time import monotonic
from typing import Final

BURST: Final = 20
PER_SECOND: Final = 10.0
"""So many records of one kind are written at once, and then each second."""

LEFT_OUT_SECONDS: Final = 10.0
"""After so long at most it is told how many were not written, also if no such record comes any more."""

LEFT_OUT: Final = "records were left out"
"""The event of the record that tells so."""

Tell = Callable[[Hashable, int], None]


class Floods:
    """Says of each record whether it is to be written.

    Args:
        clock: rises by 1 a second.
        tell: is told of a kind how many of its records were not written, after a while in which none was
            that could have said so. That takes a running event loop, and does not happen without one.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, tell: Tell = lambda _kind, _count: None
    ) -> None:
        self._clock = clock
        self._tell = tell
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
            self._tell_later(kind, flood)
            return False
        if flood.held_back:
            record["not_logged"] = flood.held_back
            flood.held_back = 0
        return True

    def close(self) -> None:
        """Tells at once what there is to tell."""
        for kind, flood in self._of_kind.items():
            self._tell_now(kind, flood)

    def _tell_later(self, kind: Hashable, flood: "_Flood") -> None:
        if flood.waits:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        # In no caller's context: it is about many of them.
        loop.call_later(LEFT_OUT_SECONDS, self._tell_now, kind, flood, context=Context())
        flood.waits = True

    def _tell_now(self, kind: Hashable, flood: "_Flood") -> None:
        flood.waits = False
        if flood.held_back:
            count, flood.held_back = flood.held_back, 0
            self._tell(kind, count)


class _Flood:
    """How many records of one kind may be written now."""

    __slots__ = ("at", "held_back", "left", "waits")

    def __init__(self, now: float) -> None:
        self.left = float(BURST)
        self.at = now
        self.held_back = 0
        self.waits = False  # whether a timer runs that will tell

    def passes(self, now: float) -> bool:
        self.left = min(BURST, self.left + (now - self.at) * PER_SECOND)
        self.at = now
        if self.left < 1:
            self.held_back += 1
            return False
        self.left -= 1
        return True
