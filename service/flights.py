"""Owns sharing: many callers with the same question wait for one answer that was asked for after they came.

Step before: whoever has a question that costs something, such as `service.auth.auth_service`. Step after:
the function that answers it.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Hashable, Sequence
from contextvars import ContextVar
from copy import copy
from functools import partial
from time import perf_counter
from typing import Any, Final, Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

_TURNS: Final = 4
"""Turns of the event loop without a new caller before a patient run begins; some µs each if all is quiet."""

_MOST_ROUNDS: Final = 32
"""How often those turns are waited for again, as somebody did come."""

_STEPS: Final = 8
_QUIET_STEPS: Final = 4
_STEP_SHARE: Final = 1 / 32
_SHORTEST_STEP: Final = 0.000_25
_LONGEST_STEP: Final = 0.005
"""How a run waits for those whom the one before it answered: so many steps at most, and only so many in a row
without a new caller. A step takes this share of that run's time, and so many seconds."""


ABOARD: Final[ContextVar[Sequence[object]]] = ContextVar("aboard", default=())
"""What a caller brings along, such as its span; in a run, what all those who wait for it have brought."""


class FlightFailed(Exception):
    """A run was cancelled from within, so it has neither an answer nor an error of its own."""


def of_ones_own(failure: BaseException) -> BaseException:
    """The same failure, for one of those who share it: one for all would remember the frames of them all."""
    try:
        own = copy(failure)
    except Exception:  # noqa: BLE001 - a class may take other arguments than it keeps
        return failure
    own.__cause__, own.__context__ = failure.__cause__, failure.__context__
    own.__suppress_context__ = failure.__suppress_context__
    return own.with_traceback(failure.__traceback__)


class _Before(NamedTuple):
    """The last run that landed."""

    seconds: float
    """How long it took."""
    landed: float
    """When, on the performance counter."""
    callers: int
    """Those whom it answered, and those who came meanwhile."""


class _Flight(Generic[Answer]):
    """One run of the function, and those who wait for it, each with a future of their own."""

    __slots__ = ("aboard", "began", "landed", "task", "waiting")

    def __init__(self) -> None:
        self.waiting: set[asyncio.Future[Answer]] = set()
        self.task: asyncio.Task[Answer] | None = None
        self.landed = False
        self.aboard: list[object] = []
        self.began = 0.0


class Flights(Generic[Key, Answer]):
    """Runs `fly(key)` once for all who ask for the same key before that run begins.

    Who comes while a run is in the air waits for the next one, since the one in the air may have looked
    at things before that caller came. So at most two runs of a key exist at any moment: the one in the air
    and the one that boards. A failure is shared by those who waited for it and by nobody after.

    A caller that leaves just leaves; a run that nobody waits for any more is cancelled.

    Args:
        fly: answers a key. It runs in a context that is empty but for `ABOARD`, as it belongs to no one
            caller.
        patient: lets a run begin only when no more callers come on the heels of those that wait.
        in_company: for few keys, whose runs take long next to what an answer costs a caller. A run on the
            heels of another waits some milliseconds for those who were just answered and ask again.
            Otherwise they and those who came meanwhile would take turns, and each run serve half of them.
        hands_over: every caller brings a future, which `fly` answers, or hands to somebody who does so after
            it has ended. The end of a run tells nobody anything, unless the run has failed.
    """

    def __init__(
        self,
        fly: Callable[[Key], Coroutine[Any, Any, Answer]],
        *,
        patient: bool = False,
        in_company: bool = False,
        hands_over: bool = False,
    ) -> None:
        self._fly = fly
        self._patient = patient
        self._in_company = in_company
        self._hands_over = hands_over
        self._before: dict[Key, _Before] = {}
        self._boarding: dict[Key, _Flight[Answer]] = {}
        self._in_the_air: dict[Key, _Flight[Answer]] = {}

    async def join(self, key: Key, waiter: "asyncio.Future[Answer] | None" = None) -> Answer:
        """The answer of a run that begins after this call.

        Args:
            key: what is asked.
            waiter: a future of the caller's own, for runs that answer these.

        Raises:
            FlightFailed: see there.
            Exception: whatever the run raises.
        """
        flight = self._boarding.get(key)
        if flight is None:
            flight = self._boarding[key] = _Flight()
            if key not in self._in_the_air:
                self._take_off(key)
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
        flight.waiting.add(waiter)
        if brought := ABOARD.get():
            flight.aboard.extend(brought)
        try:
            return await waiter
        finally:
            flight.waiting.discard(waiter)
            if not flight.waiting and not flight.landed:
                self._abandon(key, flight)
            # A failure remembers this frame. It would be a cycle, and hold for long what was read before it.
            del flight, waiter

    def _take_off(self, key: Key) -> None:
        flight = self._in_the_air[key] = self._boarding[key]
        context = contextvars.Context()
        context.run(ABOARD.set, flight.aboard)
        flight.task = asyncio.create_task(self._run(key), context=context)
        flight.task.add_done_callback(partial(self._land, key, flight))

    async def _run(self, key: Key) -> Answer:
        if self._patient:
            await self._let_callers_board(self._boarding[key])
        if before := self._before.pop(key, None):
            await self._let_callers_come_again(self._boarding[key], before)
        # From here on the run may look at things: who comes now takes the next.
        self._boarding.pop(key).began = perf_counter()
        return await self._fly(key)

    async def _let_callers_board(self, flight: _Flight[Answer]) -> None:
        # gRPC hands over one unary call after the other, each some turns of the event loop after the last.
        for _ in range(_MOST_ROUNDS):
            came = len(flight.waiting)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            if len(flight.waiting) <= came:
                return

    async def _let_callers_come_again(self, flight: _Flight[Answer], before: _Before) -> None:
        step = min(before.seconds * _STEP_SHARE, _LONGEST_STEP)
        if step < _SHORTEST_STEP or perf_counter() - before.landed > _STEPS * step:
            return
        quiet = 0
        for _ in range(_STEPS):
            came = len(flight.waiting)
            if quiet == _QUIET_STEPS or came >= before.callers:
                return
            await asyncio.sleep(step)
            quiet = 0 if len(flight.waiting) > came else quiet + 1

    def _land(self, key: Key, flight: _Flight[Answer], task: "asyncio.Task[Answer]") -> None:
        del self._in_the_air[key]
        flight.landed = True
        error = FlightFailed() if task.cancelled() else task.exception()
        for waiter in flight.waiting:
            if waiter.done():
                continue  # who waits there is leaving, or was answered before
            if error is not None:
                waiter.set_exception(of_ones_own(error))
            elif not self._hands_over:
                waiter.set_result(task.result())
        boarding = self._boarding.get(key)
        if self._in_company and flight.began:
            now = perf_counter()
            callers = len(flight.waiting) + (len(boarding.waiting) if boarding else 0)
            self._before[key] = _Before(now - flight.began, now, callers)
        if boarding:
            self._take_off(key)

    def _abandon(self, key: Key, flight: _Flight[Answer]) -> None:
        flight.landed = True
        if self._boarding.get(key) is flight:
            del self._boarding[key]
        if flight.task is not None:
            flight.task.cancel()
