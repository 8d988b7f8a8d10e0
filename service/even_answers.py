"""Owns the moment at which a masked answer leaves, so that its timing does not tell why it is masked.

Step before: `service.rooms` knows that there is no such room for this caller, or that the answer shared a
question with such a one (`service.batches`). There is no step after.

A room that exists makes LiveKit's answer longer than one that does not, and reading it takes both LiveKit
and this process some microseconds, which patience can measure. So a masked answer leaves a fixed time after
its call came, or twice that time where it took longer, and so on.
"""

import asyncio
import heapq
import math
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

STEP_SECONDS: Final = 0.01
"""Well over what LiveKit takes for a room by its name, and nothing that a person would notice."""

_CLEAR_SECONDS: Final = 0.001
"""So long before an answer leaves, and so long after that, while it is on its way, the loop is kept free."""

_MOST_WAITS: Final = 3
"""How often in a row that time is waited for, as ever more answers could come to leave."""


class _Leaving:
    """One answer that waits for its moment. They sort by that."""

    __slots__ = ("moment", "waits")

    def __init__(self, moment: float) -> None:
        self.moment = moment
        self.waits = True

    def __lt__(self, other: "_Leaving") -> bool:
        return self.moment < other.moment


class EvenAnswers:
    """Lets answers leave at whole steps after their calls began, running inside `async with`.

    A thread keeps the time. An event loop's own timers count whole milliseconds from the moment when the
    loop last fell idle, so what came before, and how long it took, shows in when they fire.

    Args:
        step: seconds.
    """

    def __init__(self, step: float = STEP_SECONDS) -> None:
        self._step = step
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        # Those that wait, the next one first, and when the last one left. The thread looks at neither.
        self._next: list[_Leaving] = []
        self._last_left = -math.inf
        self._ends = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._keep_time, name="even-answers", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join()

    async def leave(self, began: float) -> None:
        """Returns at the next whole step after `began`, which is a moment of `time.monotonic()`."""
        loop = asyncio.get_running_loop()
        left = asyncio.Event()
        steps = math.floor((time.monotonic() - began) / self._step) + 1
        moment = began + steps * self._step
        leaving = _Leaving(moment)
        heapq.heappush(self._next, leaving)
        self._call_at(moment, lambda: loop.call_soon_threadsafe(left.set))
        try:
            await left.wait()
            self._last_left = time.monotonic()
        finally:
            leaving.waits = False
            while self._next and not self._next[0].waits:
                heapq.heappop(self._next)

    async def let_pass(self) -> None:
        """Returns when no answer is about to leave, or on its way; after some milliseconds at most.

        For work whose length depends on what is masked: done in the moment when another answer to the same
        caller leaves, it would show in the time of that one.
        """
        for _ in range(_MOST_WAITS):
            if not self._one_leaves():
                return
            await asyncio.sleep(_CLEAR_SECONDS)

    def _one_leaves(self) -> bool:
        now = time.monotonic()
        if self._next and self._next[0].moment <= now + _CLEAR_SECONDS:
            return True
        return now <= self._last_left + _CLEAR_SECONDS

    def _call_at(self, moment: float, call: Callable[[], object]) -> None:
        with self._changed:
            self._count += 1  # where moments are equal, functions are not compared
            heapq.heappush(self._waiting, (moment, self._count, call))
            if self._waiting[0][1] == self._count:
                self._changed.notify()

    def _keep_time(self) -> None:
        with self._changed:
            while not self._ends:
                if not self._waiting:
                    self._changed.wait()
                elif (remaining := self._waiting[0][0] - time.monotonic()) > 0:
                    self._changed.wait(remaining)
                else:
                    heapq.heappop(self._waiting)[2]()
