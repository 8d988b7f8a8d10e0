"""How often others get their turn on the event loop while something is at work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LoopTurns:
    """Turns of the event loop that others have had so far."""

    def __init__(self) -> None:
        self.taken = 0

    async def take_all(self) -> None:
        """Takes every turn that there is, without an end."""
        while True:
            self.taken += 1
            await asyncio.sleep(0)


@asynccontextmanager
async def others_beside() -> AsyncIterator[LoopTurns]:
    """Others who take every turn until the block ends."""
    turns = LoopTurns()
    others = asyncio.create_task(turns.take_all())
    try:
        yield turns
    finally:
        others.cancel()
