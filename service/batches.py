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
from typing import Any, Generic, TypeVar, cast

from service.auth.principal import Scope
from service.errors import LiveKitFailed, LiveKitRefused, LiveKitUnavailable
from service.flights import Flights
from service.searches import Searches

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")
_Failure = LiveKitUnavailable | LiveKitFailed


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
    came since, until LiveKit's time is up. So no more questions are in the air when LiveKit is slow or away
    than one batch has parts.

    Args:
        ask: answers several keys, each of them.
        parts_of: which of a batch's keys are asked about in one question.
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
        self._flights: Flights[None, Any] = Flights(self._fly, patient=True)

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
        waiter: asyncio.Future[Answer | _Failure] = asyncio.get_running_loop().create_future()
        batch.waiting.setdefault(key, {})[waiter] = asker.scope
        try:
            outcome: Answer | _Failure = await self._flights.join(None, waiter)
        finally:
            if batch is self._boarding:
                self._step_off(batch, key, waiter)
            del waiter
        if isinstance(outcome, _Failure):
            try:
                raise outcome
            finally:
                del outcome  # a failure remembers this frame, so it would be a cycle
        return outcome

    def _step_off(self, batch: _Batch, key: Key, waiter: "asyncio.Future[Answer | _Failure]") -> None:
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
        try:
            parts = self._parts_of([*batch.waiting])
            if len(parts) == 1:
                await self._ask(batch, parts[0])
            else:
                await asyncio.gather(*(self._ask(batch, part) for part in parts))
        finally:
            self._in_the_air = None
        if batch.waiting:
            raise RuntimeError("keys that are in none of the parts")

    async def _ask(self, batch: _Batch, keys: Sequence[Key]) -> None:
        """Tells those who wait for these keys. One that LiveKit fails at never fails the others.

        A question that failed is asked in halves, down to the keys that LiveKit fails at: fewer than two
        questions for each key, and none where the failure is not about any of them.
        """
        try:
            answers = await self._ask_about(keys)
        except (LiveKitUnavailable, LiveKitRefused) as error:
            self._tell(batch, keys, dict.fromkeys(keys, error))
        except LiveKitFailed as error:
            if len(keys) == 1:
                self._tell(batch, keys, {keys[0]: error})
                return
            batch.masked = True  # as far as anybody knows
            middle = len(keys) // 2
            await asyncio.gather(self._ask(batch, keys[:middle]), self._ask(batch, keys[middle:]))
        else:
            self._tell(batch, keys, answers)

    def _tell(
        self, batch: _Batch, keys: Sequence[Key], outcomes: "Mapping[Key, Answer] | Mapping[Key, _Failure]"
    ) -> None:
        for key in keys:
            outcome = outcomes[key]
            waiters = batch.waiting.pop(key)
            if not batch.masked:
                batch.masked = isinstance(outcome, _Failure) or any(
                    self._is_masked(scope, outcome) for scope in waiters.values()
                )
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(outcome)
