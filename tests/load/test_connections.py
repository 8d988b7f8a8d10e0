"""Clients that come and go in masses, vanish, stall or flood: they hold nobody up and leave nothing."""

import asyncio
import random
import socket
import struct
import time
from collections import Counter

import pytest

from tests.end_to_end.callers import ACME
from tests.load.asking import ask_until, asked_meanwhile, percentile
from tests.load.conftest import Stage
from tests.load.connection import Connection
from tests.load.questions import LISTS, made, stored
from tests.support.full_counts import FullCounts

A_SECOND = 1_000


@pytest.mark.load
async def test_connections_that_come_and_go_in_masses_are_all_served_and_all_closed(
    stage: Stage, load: FullCounts
) -> None:
    """MATRIX L3."""
    count = A_SECOND * int(load.seconds / 10) if load.full else 300
    before = await stage.held()
    outcomes: Counter[str] = Counter()
    times: list[float] = []

    async def one() -> None:
        began = time.perf_counter()
        async with Connection(stage.url) as connection:
            try:
                outcomes[str((await connection.ask("/", last=True)).status)] += 1
            except OSError as error:
                outcomes[type(error).__name__] += 1
        times.append(time.perf_counter() - began)

    began = time.monotonic()
    async with asyncio.TaskGroup() as coming:
        for number in range(count):
            # At even times, whether or not the earlier ones have been served.
            await asyncio.sleep(began + number / A_SECOND - time.monotonic())
            coming.create_task(one())
            load.progress("connections", number, count)
    seconds = time.monotonic() - began
    assert outcomes == {"200": count}
    assert await stage.leaks(before) == {}
    load.figure(
        "L3",
        f"{count:,} connections, {count / seconds:,.0f}/s: 0 resets, p99 {percentile(times, 0.99):.0f} ms, "
        "descriptors back to at most 5 over the baseline, tasks to the baseline",
    )


def _reset(connection: Connection) -> None:
    """Closes it as a client that has crashed would: with a reset, whatever is under way."""
    assert connection._streams is not None
    raw: socket.socket = connection._streams[1].get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection._streams[1].transport.abort()


@pytest.mark.load
async def test_clients_that_stall_flood_and_vanish_hold_nobody_up_and_leave_nothing(
    stage: Stage, load: FullCounts
) -> None:
    rooms = made(load.count(1_000, short=100))
    count = load.count(20_000, short=400)
    at_once = asyncio.Semaphore(64)

    async def vanish() -> None:
        """Asks, and resets the connection before, in or after the answer."""
        async with at_once:
            connection = Connection(stage.url)
            await connection.send(LISTS, ACME)
            await asyncio.sleep(random.choice((0.0, 0.001, 0.005, 0.02)))
            _reset(connection)

    async def pipeline() -> None:
        """Asks a hundred times without reading, and is gone."""
        async with at_once:
            connection = Connection(stage.url)
            for _ in range(100):
                await connection.send(LISTS, ACME)
            await asyncio.sleep(0.05)
            _reset(connection)

    async def stall() -> None:
        """Asks and reads nothing for a while."""
        async with at_once:
            connection = Connection(stage.url)
            await connection.send(LISTS, ACME)
            await asyncio.sleep(0.2)
            connection.close()

    async with stored(stage.redis, rooms):
        await ask_until(stage.url, rooms.questions(), 4, lambda tally: tally.calls >= 40)
        before = await stage.held()
        async with (
            asked_meanwhile(stage.url, rooms.questions(), 8, pause=0.05) as others,
            asyncio.TaskGroup() as rude,
        ):
            for number in range(count):
                kind = pipeline if number % 20 == 0 else stall if number % 5 == 0 else vanish
                rude.create_task(kind())
        assert await stage.leaks(before) == {}
    assert others.wrong == []
    assert others.broken == {}
    assert others.refused == {}
    assert others.right > 0
