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

BURST_EACH: Final = 5
PER_SECOND_EACH: Final = 1.0
"""So many more of one kind and one caller, so that no caller's flood hides what happened to another."""

MOST_CALLERS: Final = 100
"""Of each kind for so many callers at a time: a fault that all callers meet is no flood of lines either."""

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
        self._of_kind: dict[Hashable, _Kind] = {}

    def let_through(self, kind: Hashable, record: dict[str, object], caller: Hashable | None = None) -> bool:
        """Whether this record is to be written; it is told in `not_logged` how many like it were not.

        Args:
            kind: one of few: each is remembered.
            record: is changed.
            caller: who is known to have called, if anybody is.
        """
        now = self._clock()
        flood = self._of_kind.get(kind)
        if flood is None:
            flood = self._of_kind[kind] = _Kind(now)
        if not flood.passes(now, caller):
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

    def _tell_later(self, kind: Hashable, flood: "_Kind") -> None:
        if flood.waits:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        # In no caller's context: it is about many of them.
        loop.call_later(LEFT_OUT_SECONDS, self._tell_now, kind, flood, context=Context())
        flood.waits = True

    def _tell_now(self, kind: Hashable, flood: "_Kind") -> None:
        flood.waits = False
        if flood.held_back:
            count, flood.held_back = flood.held_back, 0
            self._tell(kind, count)


class _Kind:
    """How many records of one kind may be written now."""

    __slots__ = ("_all", "_of_caller", "held_back", "waits")

    def __init__(self, now: float) -> None:
        self._all = _Flood(now, BURST, PER_SECOND)
        # Who called last comes last.
        self._of_caller: dict[Hashable, _Flood] = {}
        self.held_back = 0
        self.waits = False  # whether a timer runs that will tell

    def passes(self, now: float, caller: Hashable | None) -> bool:
        if self._all.passes(now) or (caller is not None and self._own_passes(now, caller)):
            return True
        self.held_back += 1
        return False

    def _own_passes(self, now: float, caller: Hashable) -> bool:
        own = self._of_caller.pop(caller, None)
        if own is None:
            if len(self._of_caller) >= MOST_CALLERS:
                first = next(iter(self._of_caller))
                if not self._of_caller[first].is_over(now):
                    return False
                del self._of_caller[first]
            own = _Flood(now, BURST_EACH, PER_SECOND_EACH)
        self._of_caller[caller] = own
        return own.passes(now)


class _Flood:
    """A bucket, from which each record takes one, and which fills again."""

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, now: float, burst: int, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = now

    def passes(self, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def is_over(self, now: float) -> bool:
        """Whether it is full again, so that it may be forgotten."""
        return self._left + (now - self._at) * self._per_second >= self._burst
