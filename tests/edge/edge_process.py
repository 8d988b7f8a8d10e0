"""`python -m edge` as a process of its own, and raw sockets to it."""

import asyncio
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.edge.asgi_calls import Reply
from tools.ports import free_tcp_port

_ROOT = Path(__file__).parents[2]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """A clean environment with these settings, in which the project is importable."""
    paths = os.pathsep.join(str(_ROOT / folder) for folder in (".", "client", "generated"))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "HOME": os.environ.get("HOME", "/"), **settings}


async def start(settings: Mapping[str, str], log: IO[bytes]) -> asyncio.subprocess.Process:
    """The process, in a group of its own as a terminal would give it; it writes to `log`."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edge",
        env=environment(settings),
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


class EdgeProcess:
    """One edge; requests to it go over TLS if it is told how."""

    def __init__(self, settings: Mapping[str, str], tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.port = int(settings.get("PORT", 0)) or free_tcp_port()
        # No announcement before a stop, unless a test asks for one.
        self._settings = {"TENANTROOMS_EDGE_ANNOUNCE_SECONDS": "0", **settings, "PORT": str(self.port)}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process

    @property
    def log(self) -> str:
        """All that it has written so far."""
        self._log.seek(0)
        return self._log.read().decode()

    async def __aenter__(self) -> Self:
        self.process = await start(self._settings, self._log)
        await eventually(self._has_started)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            await self.stop()
        self._log.close()

    async def stop(self, number: int = signal.SIGTERM, *, group: bool = False) -> int:
        """Sends the signal, to the whole group as Ctrl-C in a terminal does if asked to.

        Returns:
            The exit code.
        """
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return await self.process.wait()

    async def raw(self, request: bytes) -> bytes:
        """All that comes back until the edge closes the connection."""
        reader, writer = await self.connect()
        writer.write(request)
        try:
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    async def _has_started(self) -> bool:
        assert self.process.returncode is None, self.log
        return await self.accepts()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self._tls)

    async def accepts(self) -> bool:
        """Whether anybody listens."""
        try:
            _, writer = await self.connect()
        except OSError:
            return False
        writer.close()
        return True

    async def ask(
        self, target: str | bytes, *headers: tuple[str, str], method: str = "GET", body: bytes = b""
    ) -> Reply:
        """One request, its target sent exactly as it is, on a connection of its own."""
        target = target.encode("latin-1") if isinstance(target, str) else target
        lines = [f"{method} ".encode() + target + b" HTTP/1.1", b"Host: edge.test", b"Connection: close"]
        lines += [f"{name}: {value}".encode("latin-1") for name, value in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}".encode())
        answer = await self.raw(b"\r\n".join([*lines, b"", body]))
        return parse(answer)


async def eventually(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Waits for something in another process; generous, as the machine may be busy."""
    async with asyncio.timeout(30):
        while not await is_so():  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.05)


def parse(answer: bytes) -> Reply:
    head, separator, body = answer.partition(b"\r\n\r\n")
    assert separator, answer
    status_line, *fields = head.decode("latin-1").split("\r\n")
    pairs = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in fields))
    return Reply(int(status_line.split()[1]), pairs, body)
