"""Owns how places are waited for, and what a call that is refused is over.

Step before: `service.tenant_limits` says who wants a place. Step after: `common.fair_share` counts.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Final, Generic, TypeVar

from common.fair_share import FairShare

MOST_WAIT_SECONDS: Final = 1.0
"""How long a call waits for its turn; who still has none then is refused."""

ACTIVE_SECONDS: Final = 1.0
"""Who has called within this time, or up to twice of it, is one of those who share."""

FEW_PLACES: Final = 8
"""What one gets at a time however many others call."""

Who = TypeVar("Who", bound=Hashable)


class Limit(Enum):
    """What a call that is refused is over."""

    CREDENTIAL_CALLS = "credential_calls"
    """All calls under way, or the share of one credential in them: refused before authentication."""
    TENANT_CALLS = "tenant_calls"
    """The share of one tenant, or the time for which a call may wait for its turn."""
    TENANT_RATE = "tenant_rate"
    """The rate of one tenant."""
    UNSENT_ANSWERS = "unsent_answers"
    """What one caller leaves unread of the answers to its unary calls."""
    NEW_TOKENS = "new_tokens"
    """What calls whose tokens the auth service has not accepted lately may take of it."""
    UNKNOWN_KEYS = "unknown_keys"
    """How many calls may wait while the identity provider is asked for keys that are not known."""


class FairQueue(Generic[Who]):
    """Places that are waited for: each who wants them has a queue, and queues have their turns one by one.

    Whoever is alone may hold as many as `FairShare` says. Where several call, one gets few at a time: more
    would not make it faster on a busy machine, but everybody else slower.

    Args:
        most: how many places there are.
        clock: seconds, from any start.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._running: FairShare[Who] = FairShare(most)
        self._clock = clock
        self._callers: set[Who] = set()
        self._former_callers: set[Who] = set()
        self._new_callers = 0
        self._callers_since = clock()
        self._queues: OrderedDict[Who, OrderedDict[asyncio.Future[None], None]] = OrderedDict()

    def enter(self, who: Who) -> bool:
        """Takes a place at once, which `leave` gives back; False where one has to be waited for."""
        if self._clock() - self._callers_since > ACTIVE_SECONDS:
            self._former_callers, self._callers, self._new_callers = self._callers, set(), 0
            self._callers_since = self._clock()
        if who not in self._callers:
            self._callers.add(who)
            self._new_callers += who not in self._former_callers
            self._share_anew()
        return who not in self._queues and self._running.enter(who)

    async def wait(self, who: Who, seconds: float = MOST_WAIT_SECONDS) -> None:
        """Takes a place as soon as it is this one's turn.

        Args:
            who: whose turn.
            seconds: how long to wait for it at most.

        Raises:
            TimeoutError: that took too long; there is nothing to give back.
        """
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(who, OrderedDict())[turn] = None
        self._start_waiting()
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave(who)
            else:
                self._leave_queue(who, turn)
            raise

    def leave(self, who: Who) -> None:
        """Gives back one place, to whose turn it is."""
        self._running.leave(who)
        if self._queues:
            self._start_waiting()

    def _share_anew(self) -> None:
        callers = len(self._former_callers) + self._new_callers
        few = max(FEW_PLACES, self._most // (4 * callers))
        self._running.most_each = self._most if callers == 1 else min(self._most, few)

    def _start_waiting(self) -> None:
        for who in list(self._queues):
            queue = self._queues[who]
            while queue and next(iter(queue)).cancelled():  # its caller has left, and says so in a moment
                queue.popitem(last=False)
            if queue and self._running.enter(who):
                turn, _ = queue.popitem(last=False)
                turn.set_result(None)
                self._queues.move_to_end(who)
            if not queue:
                del self._queues[who]

    def _leave_queue(self, who: Who, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(who)
        if queue is not None:
            queue.pop(turn, None)
            if not queue:
                del self._queues[who]
