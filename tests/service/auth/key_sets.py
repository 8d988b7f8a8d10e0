"""What the tests of fetched keys share: time that passes when they say so, and two keys."""

import asyncio

from service.auth.key_set import REFRESH_SECONDS
from tests.support.identity_provider import ec_key, rsa_key

OLD, NEW = ec_key("old"), rsa_key("new")
MAX_STALE = 100 * REFRESH_SECONDS


class Clock:
    """Seconds that go forward when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Pauses:
    """Pauses that end when a test says so."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[float] = asyncio.Queue()
        self._ends: asyncio.Queue[None] = asyncio.Queue()

    async def __call__(self, seconds: float) -> None:
        self.begun.put_nowait(seconds)
        await self._ends.get()

    def end(self) -> None:
        self._ends.put_nowait(None)


def unknown(number: int) -> str:
    """A token that names a key which does not exist."""
    return OLD.token({"kid": f"made-up-{number}"})
