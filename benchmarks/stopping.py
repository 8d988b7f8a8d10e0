"""Owns how a measurement is stopped: Ctrl-C or SIGTERM cancels it, and every block ends its processes."""

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

__all__ = ["run_until_stopped"]

Result = TypeVar("Result")

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_until_stopped(work: Coroutine[Any, Any, Result]) -> Result:
    """Run this to its end; its result.

    Raises:
        KeyboardInterrupt: a signal to stop came, and the work has been cancelled and has cleaned up.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        return asyncio.run(_cancellable(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _cancellable(work: Coroutine[Any, Any, Result]) -> Result:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for number in STOP_SIGNALS:
        # However often it comes: what cleans up is cancelled once and then left to finish.
        loop.add_signal_handler(number, _cancel_once, task)
    return await task


def _cancel_once(task: "asyncio.Task[Any]") -> None:
    if not task.cancelling():
        task.cancel()


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
