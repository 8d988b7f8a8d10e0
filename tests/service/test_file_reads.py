"""Reading files aside: a read that hangs is heard of, and holds up nothing."""

import asyncio
import threading

import pytest

from service.file_reads import read_aside


async def test_what_is_read_or_raised_comes_back() -> None:
    hangs: list[None] = []
    assert await read_aside(lambda: 5, lambda: hangs.append(None)) == 5
    with pytest.raises(OSError, match="absent"):
        await read_aside(lambda: failing("absent"), lambda: hangs.append(None))
    assert hangs == []


def failing(text: str) -> None:
    raise OSError(text)


async def test_a_read_that_hangs_is_told_once_and_its_end_is_waited_for() -> None:
    free, told = threading.Event(), asyncio.Event()
    hangs: list[None] = []

    def on_hang() -> None:
        hangs.append(None)
        told.set()

    reading = asyncio.create_task(read_aside(free.wait, on_hang, seconds=0.01))
    await told.wait()
    assert not reading.done()
    free.set()
    assert await reading is True
    assert len(hangs) == 1


async def test_who_leaves_does_not_wait_for_a_read_that_hangs() -> None:
    free, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        free.wait()

    reading = asyncio.create_task(read_aside(hang, lambda: None))
    await asyncio.to_thread(begun.wait)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    (thread,) = (each for each in threading.enumerate() if each.name == "file-reads")
    assert thread.daemon
    free.set()
    await asyncio.to_thread(thread.join)
