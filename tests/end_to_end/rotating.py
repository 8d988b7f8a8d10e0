"""How the end-to-end tests replace files, and wait for the service to take them up."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

TAKEN_UP_SECONDS = 5
REFUSED = "changed files are not taken up, what was read before stays in use"


def replace(file: Path, content: bytes | str) -> None:
    """Replaces a file in one step, as a careful writer does."""
    written = file.with_name(f"{file.name}.new")
    written.write_bytes(content.encode() if isinstance(content, str) else content)
    written.replace(file)


async def in_time(reached: Callable[[], bool | Awaitable[bool]]) -> None:
    """Waits for what must be so soon after a file was written."""
    async with asyncio.timeout(TAKEN_UP_SECONDS):
        while not (done if isinstance(done := reached(), bool) else await done):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # another process takes it up, and tells nobody
