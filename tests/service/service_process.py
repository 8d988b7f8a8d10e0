"""`python -m service` as a process of a test's own."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]


class Service:
    """The process, and what it has written to its error output so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.metrics_port: int | None = None

    @classmethod
    async def start(cls, **environment: str) -> Self:
        """Starts it with these variables and no others that it would look at."""
        paths = os.pathsep.join(str(ROOT / folder) for folder in ("", "client", "generated"))
        return cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service"),
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, **environment},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        )

    async def logs(self, event: str) -> dict[str, Any]:
        """Waits for the record of this event."""
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            while line := (await self.process.stderr.readline()).decode():
                self.lines.append(line)
                record: dict[str, Any] = json.loads(line)
                if record["event"] == event:
                    return record
        raise AssertionError(f"it ended without {event!r}:\n{''.join(self.lines)}")

    async def ended(self) -> int:
        """Waits for its end and gives the exit code."""
        async with asyncio.timeout(30):
            output, errors = await self.process.communicate()
        assert output == b""
        self.lines += errors.decode().splitlines(keepends=True)
        assert self.process.returncode is not None
        return self.process.returncode

    @property
    def said(self) -> str:
        return "".join(self.lines)


@contextlib.asynccontextmanager
async def running(**environment: str) -> AsyncIterator[Service]:
    """A service that has begun to serve; killed at the end unless it has ended by itself."""
    service = await Service.start(**environment)
    try:
        service.metrics_port = (await service.logs("serving")).get("metrics_port")
        yield service
    finally:
        if service.process.returncode is None:
            service.process.kill()
            await service.ended()
