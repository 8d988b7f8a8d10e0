"""Owns batching: many callers, each with a question about one key, share questions about many keys at once.

Step before: `service.named_rooms`, about rooms by name, and `service.candidates`, about the lists of tenants.
Step after: the function that can ask about several keys. What fails about one key never fails the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from service.errors import LiveKitFailed, LiveKitRefused, LiveKitUnavailable
from service.flights import Flights

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")
_Failure = LiveKitUnavailable | LiveKitFailed


class Batches(Generic[Key, Answer]):
    """Asks about all keys that came before it asks, one batch at a time.

    Args:
        ask: answers several keys, each of them.
        parts_of: which of a batch's keys are asked about in one question.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Answer]]],
        parts_of: Callable[[Sequence[Key]], Sequence[Sequence[Key]]],
    ) -> None:
        self._ask_about = ask
        self._parts_of = parts_of
        self._asked_for: dict[Key, None] = {}
        self._flights: Flights[None, dict[Key, Answer | _Failure]] = Flights(self._fly, patient=True)

    async def find(self, key: Key) -> Answer:
        """The answer about this key, of a question that begins after this call.

        Raises:
            LiveKitUnavailable, LiveKitFailed: LiveKit could not say about this key.
        """
        self._asked_for[key] = None
        outcome = (await self._flights.join(None))[key]
        if isinstance(outcome, _Failure):
            raise outcome
        return outcome

    async def _fly(self, _key: None) -> "dict[Key, Answer | _Failure]":
        # Who adds a key from here on takes the next flight.
        keys, self._asked_for = [*self._asked_for], {}
        parts = self._parts_of(keys)
        if len(parts) == 1:
            return await self._outcomes(parts[0])
        outcomes: dict[Key, Answer | _Failure] = {}
        for found in await asyncio.gather(*map(self._outcomes, parts)):
            outcomes |= found
        return outcomes

    async def _outcomes(self, keys: Sequence[Key]) -> "dict[Key, Answer | _Failure]":
        """What became of each key. One that LiveKit fails at never fails the others.

        A question that failed is asked in halves, down to the keys that LiveKit fails at: fewer than two
        questions for each key, and none where the failure is not about any of them.
        """
        try:
            return {**await self._ask_about(keys)}
        except (LiveKitUnavailable, LiveKitRefused) as error:
            return dict.fromkeys(keys, error)
        except LiveKitFailed as error:
            if len(keys) == 1:
                return {keys[0]: error}
        middle = len(keys) // 2
        first, second = await asyncio.gather(self._outcomes(keys[:middle]), self._outcomes(keys[middle:]))
        return first | second
