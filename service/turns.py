"""Owns fairness on the event loop: long work gives the other calls their turn every few milliseconds."""

import asyncio
from time import perf_counter
from typing import Final

_SHARE_SECONDS: Final = 0.002


class Turns:
    """Says when a piece of long work has had its share. The first share begins when this is made."""

    def __init__(self) -> None:
        self._until = perf_counter() + _SHARE_SECONDS

    async def pass_on(self) -> None:
        """Lets the other calls have their turn, if this one has been at work for its share."""
        # Not the loop's own clock: uvloop's stands still during a turn.
        if perf_counter() >= self._until:
            await asyncio.sleep(0)
            self._until = perf_counter() + _SHARE_SECONDS
