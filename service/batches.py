"""Owns batching: many callers, each with a question about one key, share questions about many keys at once.

Step before: `service.named_rooms`, about rooms by name, and `service.candidates`, about the lists of tenants.
Step after: the function that can ask about several keys. What fails about one key never fails the others.

A question takes the longer the more there is to say about its keys, so whoever shares it, or waits for its
end, could tell from the time what it said to others. So callers learn whether theirs told anybody "there is
nothing for you": such answers must leave at even times, all of them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, cast

from service.auth.principal import Scope
from service.errors import LiveKitFailed, LiveKitRefused, LiveKitTimedOut
from service.flights import FlightFailed, Flights, of_ones_own
from service.inquiry import INQUIRY, Inquiry
from service.searches import Searches

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

_MOST_HALVES: Final = 8
"""So many halves of failed questions are asked about at a time, whatever they are halves of."""


class FailedAsAWhole(Exception):
    """Raised by what asks where a failure is not about the keys, so that halves would fail like the whole.

    Args:
        failure: what everybody who waits is told.
    """

    def __init__(self, failure: Exception) -> None:
        super().__init__(failure)
        self.failure = failure


class Asker:
    """One call that asks, perhaps more than once.

    Args:
        scope: for whom.

    Attributes:
        began: when, by `time.monotonic()`.
        searches: tells whether the same caller looks for names that may be masked, once the call has asked.
    """

    __slots__ = ("_rests_on", "began", "scope", "searches")

    def __init__(self, scope: Scope) -> None:
        self.began = time.monotonic()
        self.scope = scope
        self.searches: Searches | None = None
        self._rests_on: list[_Batch] = []

    def rest_on(self, batch: "_Batch") -> None:
        """What this batch says is part of the call's answer."""
        self._rests_on.append(batch)

    @property
    def beside_masked(self) -> bool:
        """Whether the time of the call's answer could tell of something that was masked, for it or others.

        Of a shared question that is still in the air the time tells nothing yet, so it does not count.
        """
        if any(batch.masked for batch in self._rests_on):
            return True
        return self.searches is not None and self.searches.beside(self.scope, self.began)


class _Batch:
    """Keys that are asked about at the same time, and who waits for each of them, and for whom they ask.

    Attributes:
        after: the batch whose end this one waits for.
        waiting: by key, until it is answered. From the start of the questions on, who leaves is kept too:
            the questions were asked for them.
        masked: whether anything that was said, or whose time decided when these questions began, was masked
            for somebody who asked for it, or may have been.
    """

    __slots__ = ("after", "masked", "waiting")

    def __init__(self, after: "_Batch | None") -> None:
        self.after = after
        self.waiting: dict[Any, dict[asyncio.Future[Any], Scope]] = {}
        self.masked = False

    def begin(self) -> None:
        """The batch before has ended. What it did not come to say may have been masked."""
        if self.after is not None:
            self.masked = self.after.masked or bool(self.after.waiting)
            self.after = None


class Batches(Generic[Key, Answer]):
    """Asks about all keys that came before it asks, one batch at a time.

    Each part of a batch is answered when it has landed: a slow one holds up none of the others, but all who
    came since, until LiveKit's time is up. A part that LiveKit fails at is asked about in halves, within the
    same time, and these hold up nobody. So when LiveKit is slow or away, no more questions are in the air
    than one batch has parts; and never more than that and a few halves.

    Args:
        ask: answers several keys, each of them. Its LiveKitFailed may be about some of the keys alone, unless
            it is in a FailedAsAWhole.
        parts_of: which of a batch's keys are asked about in one question; each key is in one of them.
        is_masked: whether an answer tells those with this scope that there is nothing.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Answer]]],
        parts_of: Callable[[Sequence[Key]], Sequence[Sequence[Key]]],
        is_masked: Callable[[Scope, Answer], bool] = lambda _scope, _answer: False,
    ) -> None:
        self._ask_about = ask
        self._parts_of = parts_of
        self._is_masked = is_masked
        self._boarding: _Batch | None = None
        self._in_the_air: _Batch | None = None
        self._flights: Flights[None, Any] = Flights(self._fly, patient=True, hands_over=True)
        self._places = asyncio.Semaphore(_MOST_HALVES)
        self._halvings: set[asyncio.Task[None]] = set()

    async def find(self, key: Key, asker: Asker) -> Answer:
        """The answer about this key, of a question that begins after this call.

        Raises:
            LiveKitUnavailable, LiveKitFailed: LiveKit could not say about this key, or, the former, about
                one in the same question, which may have taken all its time.
        """
        if self._boarding is None:
            self._boarding = _Batch(self._in_the_air)
        batch = self._boarding
        asker.rest_on(batch)
        waiter: asyncio.Future[Answer | Exception] = asyncio.get_running_loop().create_future()
        batch.waiting.setdefault(key, {})[waiter] = asker.scope
        try:
            outcome: Answer | Exception = await self._flights.join(None, waiter)
        finally:
            if batch is self._boarding:
                self._step_off(batch, key, waiter)
            del waiter
        if isinstance(outcome, Exception):
            raise of_ones_own(outcome)
        return outcome

    def _step_off(self, batch: _Batch, key: Key, waiter: "asyncio.Future[Answer | Exception]") -> None:
        """Who leaves before the questions begin takes the key along, unless others ask for it."""
        del batch.waiting[key][waiter]
        if not batch.waiting[key]:
            del batch.waiting[key]
        if not batch.waiting:
            self._boarding = None

    async def _fly(self, _key: None) -> None:
        batch = cast("_Batch", self._boarding)  # somebody is waiting, or this would not run
        self._boarding = None  # who comes from here on takes the next flight
        self._in_the_air = batch
        batch.begin()
        if self._halvings:
            batch.masked = True  # halves of others are asked about beside it, and may be masked
        try:
            parts = self._parts_of([*batch.waiting])
            if sum(map(len, parts)) != len(batch.waiting):
                raise RuntimeError("keys that are in none of the parts")
            if len(parts) == 1:
                await self._ask_first(batch, parts[0])
            else:
                async with asyncio.TaskGroup() as group:
                    for part in parts:
                        group.create_task(self._ask_first(batch, part))
        finally:
            self._in_the_air = None

    async def _ask_first(self, batch: _Batch, keys: Sequence[Key]) -> None:
        inquiry = Inquiry()
        INQUIRY.set(inquiry)
        if await self._ask(batch, keys):
            return
        batch.masked = True  # as far as anybody knows
        halving = asyncio.create_task(self._find_culprits(batch, keys, inquiry))
        self._halvings.add(halving)
        halving.add_done_callback(self._halvings.discard)
        waiters = [waiter for key in keys for waiter in batch.waiting[key]]
        waiting = len(waiters)

        def one_less(_waiter: "asyncio.Future[Any]") -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                halving.cancel()

        for waiter in waiters:
            waiter.add_done_callback(one_less)

    async def _find_culprits(self, batch: _Batch, keys: Sequence[Key], inquiry: Inquiry) -> None:
        """Finds those of these keys that LiveKit fails at, as far as the time for their question goes."""
        try:
            async with asyncio.timeout_at(inquiry.deadline):
                await self._halve(batch, keys)
        except TimeoutError:
            pass
        finally:
            self._fail(batch, keys, LiveKitTimedOut("a question failed, and its halves took too long"))

    async def _halve(self, batch: _Batch, keys: Sequence[Key]) -> None:
        """Asks in halves, down to single keys: fewer than two questions for each."""
        middle = len(keys) // 2
        async with asyncio.TaskGroup() as group:
            for half in (keys[:middle], keys[middle:]):
                group.create_task(self._ask_half(batch, half))

    async def _ask_half(self, batch: _Batch, keys: Sequence[Key]) -> None:
        async with self._places:
            keys = [key for key in keys if not all(waiter.done() for waiter in batch.waiting[key])]
            told = not keys or await self._ask(batch, keys)
        if not told:
            await self._halve(batch, keys)

    async def _ask(self, batch: _Batch, keys: Sequence[Key]) -> bool:
        """Asks one question and tells all who wait for these keys.

        Returns:
            False where it told nobody: LiveKit failed, perhaps at some of the keys alone.
        """
        try:
            self._tell(batch, keys, await self._ask_about(keys))
        except LiveKitFailed as error:
            if len(keys) > 1 and not isinstance(error, LiveKitRefused):
                return False
            self._fail(batch, keys, error)
        except FailedAsAWhole as error:
            self._fail(batch, keys, error.failure)
        except Exception as error:  # noqa: BLE001 - it is raised in each of those who wait, and in no others
            self._fail(batch, keys, error)
        except asyncio.CancelledError:
            if cast("asyncio.Task[None]", asyncio.current_task()).cancelling():
                raise  # nobody waits any more, or the time is up
            self._fail(batch, keys, FlightFailed())  # it was cancelled from within
        return True

    def _tell(self, batch: _Batch, keys: Sequence[Key], outcomes: Mapping[Key, Answer]) -> None:
        for key in keys:
            outcome = outcomes[key]
            if not batch.masked:
                batch.masked = any(self._is_masked(scope, outcome) for scope in batch.waiting[key].values())
            _set(batch.waiting.pop(key), outcome)

    def _fail(self, batch: _Batch, keys: Sequence[Key], failure: Exception) -> None:
        """Tells those of these who have been told nothing yet."""
        for key in keys:
            if key in batch.waiting:
                batch.masked = True
                _set(batch.waiting.pop(key), failure)


def _set(waiters: "Mapping[asyncio.Future[Any], Scope]", outcome: object) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(outcome)
