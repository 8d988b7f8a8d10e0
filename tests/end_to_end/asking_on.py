"""Callers that ask again and again over kept connections, and what became of every request."""

import asyncio
import time
from collections import Counter
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

Outcome = tuple[int, bytes]

RECONNECT_SECONDS = 0.02


class AskingOn:
    """REST callers that each ask the same again and again, inside `async with`.

    Args:
        url: where the edge is.
        paths: what is asked, in turn.
        token: the callers' credential.
        callers: how many there are.

    Attributes:
        answers: how often each status with its body was answered.
        refused: connections that could not be made. Nothing was asked on them.
        lost: requests that were sent and not wholly answered.
        last_well: when a 200 came last, by `time.monotonic()`.
        first_well_after: when a 200 first came after `mark`.
    """

    def __init__(self, url: str, paths: list[str], token: str, callers: int) -> None:
        self._address = urlsplit(url)
        self._paths, self._token, self._callers = paths, token, callers
        self.answers: Counter[Outcome] = Counter()
        self.refused = self.lost = 0
        self.last_well = 0.0
        self.first_well_after: float | None = None
        self._marked: float | None = None
        self._news = asyncio.Event()
        self._ends = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask_on(number)) for number in range(self._callers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends = True
        _, late = await asyncio.wait(self._tasks, timeout=30)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._tasks)

    @property
    def statuses(self) -> Counter[int]:
        """How often each status was answered."""
        return sum((Counter({status: count}) for (status, _), count in self.answers.items()), Counter())

    def mark(self) -> None:
        """From now on the next 200 to a request that is sent from now on is looked for."""
        self._marked, self.first_well_after = time.monotonic(), None

    async def until_well(self, seconds: float = 60) -> float:
        """Waits for a 200 to a request that was sent after `mark`; gives the seconds since then."""
        assert self._marked is not None
        async with asyncio.timeout(seconds):
            while self.first_well_after is None:
                await self._next()
        return self.first_well_after - self._marked

    async def until_answers(self, count: int, seconds: float = 60) -> None:
        """Waits for so many more answers."""
        wanted = self.answers.total() + count
        async with asyncio.timeout(seconds):
            while self.answers.total() < wanted:
                await self._next()

    async def _next(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _ask_on(self, number: int) -> None:
        turn = number
        while not self._ends:
            try:
                reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
            except OSError:
                self.refused += 1
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            try:
                kept = True
                while kept and not self._ends:
                    turn += 1
                    kept = await self._ask(self._paths[turn % len(self._paths)], reader, writer)
            except (OSError, EOFError):
                self.lost += 1
            finally:
                writer.close()

    async def _ask(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; gives whether the connection goes on."""
        sent = time.monotonic()
        fields = f"Host: {self._address.netloc}\r\nAuthorization: Bearer {self._token}\r\n"
        writer.write(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        (length,) = (line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.split(b":")[1]))
        status = int(head.split()[1])
        self.answers[(status, body)] += 1
        if status == 200:
            self.last_well = time.monotonic()
            if self._marked is not None and self.first_well_after is None and sent >= self._marked:
                self.first_well_after = self.last_well
        self._news.set()
        return b"connection: close" not in head
