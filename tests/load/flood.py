"""A flood from a process of its own: `python -m tests.load.flood URL TOKEN RATE`.

Whoever measures beside it shares the machine with it, but not an interpreter. It floods from a line `on` to
a line `off` on its standard input, whatever it is told about coming again later, and at the end of that input
says what became of it: `{"calls": …, "seconds": …, "statuses": {"429": …}, "broken": …}`.
"""

import asyncio
import json
import sys
import time
from collections import Counter

from tests.load.connection import Connection

CONNECTIONS = 64


class Flood:
    """Sends so many requests a second, in turn over its connections, each of which waits for its answers."""

    def __init__(self, url: str, token: str, rate: float) -> None:
        self._url, self._token = url, token
        self._interval = CONNECTIONS / rate
        self._on = asyncio.Event()
        self._began = 0.0
        self.seconds = 0.0
        self.broken = 0
        self.statuses = Counter[int]()

    def switch(self, *, on: bool) -> None:
        """Goes on, or rests."""
        if on:
            self._began = time.monotonic()
            self._on.set()
        elif self._on.is_set():
            self.seconds += time.monotonic() - self._began
            self._on.clear()

    async def run(self) -> None:
        """Floods, while it is switched on, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for place in range(CONNECTIONS):
                group.create_task(self._ask(place / CONNECTIONS))

    async def _ask(self, offset: float) -> None:
        async with Connection(self._url) as connection:
            while True:
                await self._on.wait()
                due = time.monotonic() + offset * self._interval
                while self._on.is_set():
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    due += self._interval
                    try:
                        answer = await connection.ask("/livekit/rooms", self._token)
                    except OSError:
                        self.broken += 1
                    else:
                        self.statuses[answer.status] += 1
                connection.close()  # the edge would, after a while, which is no fault


async def main(url: str, token: str, rate: str) -> None:
    """Does what it is told on standard input."""
    flood = Flood(url, token, float(rate))
    running = asyncio.create_task(flood.run())
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    async for order in orders:
        flood.switch(on=order.strip() == b"on")
    flood.switch(on=False)
    running.cancel()
    await asyncio.wait([running])
    calls = flood.statuses.total() + flood.broken
    print(
        json.dumps(
            {
                "calls": calls,
                "seconds": flood.seconds,
                "statuses": {str(status): count for status, count in flood.statuses.items()},
                "broken": flood.broken,
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
