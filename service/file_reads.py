"""Owns reading files while the service runs: beside everything else, and heard of when a read hangs.

Step before: `service.watched_files` and `service.reloading` have files to read. There is no step after.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Final, TypeVar

HANGS_AFTER_SECONDS: Final = 5.0
"""So long a read takes only on a disk that hangs."""

Value = TypeVar("Value")


async def read_aside(
    read: Callable[[], Value], on_hang: Callable[[], None], seconds: float = HANGS_AFTER_SECONDS
) -> Value:
    """What this gives, in a thread of its own, which never keeps the process from ending.

    However long it takes: asked anew, a disk that hangs would hold one thread more each time.

    Args:
        read: reads files; whatever it raises is raised.
        on_hang: called once, when it has taken too long.
        seconds: how long that is.
    """
    outcome: Future[Value] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(read())
        except Exception as error:  # noqa: BLE001 (it is the caller's to handle)
            outcome.set_exception(error)

    Thread(target=run, name="file-reads", daemon=True).start()
    reading = asyncio.wrap_future(outcome)
    try:
        await asyncio.wait([reading], timeout=seconds)
        if not reading.done():
            on_hang()
        return await reading
    finally:
        reading.cancel()
