"""A client of the edge that costs little: one kept-alive HTTP/1.1 connection, and nothing beside it."""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

LONGEST_ANSWER = 2**26
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Answered:
    """Status, headers with lower-case names, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """Asks one thing at a time; opens the connection when it is needed, and again after it has broken."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        self._host, self._port = address.hostname, address.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def send(self, path: str, token: str | None = None, *, last: bool = False) -> None:
        """Sends a request and does not wait for its answer. Raises OSError."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=LONGEST_ANSWER)
        lines = [f"GET {path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if last:
            lines.append("Connection: close")
        self._streams[1].write("\r\n".join([*lines, "", ""]).encode())

    async def ask(self, path: str, token: str | None = None, *, last: bool = False) -> Answered:
        """The answer to one request; `last` asks the edge to close the connection behind it.

        Raises:
            OSError: the connection was refused, reset, or closed before the answer was whole; no answer
                in half a minute.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.send(path, token, last=last)
                answer = await self._answer()
        except BaseException as error:
            self.close()
            if isinstance(error, asyncio.IncompleteReadError):
                raise ConnectionResetError("closed before the answer was whole") from error
            raise
        if last or answer.headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    async def _answer(self) -> Answered:
        assert self._streams is not None
        reader, _ = self._streams
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *fields = head.rstrip().split("\r\n")
        pairs = (field.partition(":") for field in fields)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        return Answered(int(status_line.split()[1]), headers, body)

    def close(self) -> None:
        """Closes the connection; a request under way is left unanswered."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None
