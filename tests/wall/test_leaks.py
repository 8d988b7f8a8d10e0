"""Ten tenants ask at random while rooms come, go and change hands: nobody sees anything of another's."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.conftest import Upstream, running
from tests.support.full_counts import FullCounts
from tests.support.participants import Participants
from tests.support.real_livekit import RealLiveKit
from tests.support.redis_server import RedisServer
from tests.wall.estate import TENANTS, Creates, Estate, Landlord, Stores
from tests.wall.lives import mark
from tests.wall.wanderers import SECRETS, Wanderers
from tools.livekit_server import LiveKitServer

ANSWERS = 500_000
"""On each of two LiveKits."""

ROOMS = 1_000
AT_ONCE = 64
CHANGERS = 5

TITLE = "Answers to ten tenants at random, while rooms come, go and change hands"
COLUMNS = ("Against", "Answers", "of them lists", "Rooms shown", "Participants shown", "Changes", "Leaks")


@asynccontextmanager
async def wandered(
    livekit: Upstream, landlord: Landlord, rooms: int, logs: Path
) -> AsyncIterator[tuple[Estate, Wanderers]]:
    """The rooms, and those who ask for them."""
    estate = Estate(landlord, rooms)
    await estate.build()
    settings = {"AUTH_REQUIRED": "true", "AUTH_API_SECRETS_JSON": SECRETS}
    async with running(livekit, logs, settings) as callers, aiohttp.ClientSession() as session:
        yield estate, Wanderers(callers, session, estate)


async def wander(estate: Estate, wanderers: Wanderers, wall: FullCounts, against: str) -> None:
    """Asks as often as there is time for, judges all answers and keeps the figures."""
    most = wall.count(ANSWERS, short=500)
    until = time.monotonic() + (wall.seconds / 2 if wall.full else 20)

    async def one() -> None:
        while wanderers.answers.total() < most and time.monotonic() < until:
            await wanderers.ask()
            wall.progress(f"answers, {against}", wanderers.answers.total(), most)

    async with asyncio.TaskGroup() as changing:
        for first in range(CHANGERS):
            changing.create_task(estate.keep_changing(estate.changing[first::CHANGERS], 0.01))
        try:
            await wanderers.ask_in_every_way()
            async with asyncio.TaskGroup() as asking:
                for _ in range(AT_ONCE):
                    asking.create_task(one())
        finally:
            estate.stop()
    wanderers.settle()
    answers = wanderers.answers
    lists = sum(count for what, count in answers.items() if what.startswith("lists"))
    row = (
        against, f"{answers.total():,}", f"{lists:,}", f"{wanderers.rooms_shown:,}",
        f"{wanderers.participants_shown:,}", f"{estate.changes:,}", len(wanderers.leaks),
    )  # fmt: skip
    wall.add(TITLE, COLUMNS, row)
    assert wanderers.leaks == []
    assert wanderers.mistakes == []
    assert len(answers) == 7, "every kind of question was asked"
    assert estate.changes > 0
    assert wanderers.participants_shown > 0


@pytest.mark.wall
async def test_nothing_leaks_on_a_livekit_that_keeps_rooms_in_memory(
    livekit_server: LiveKitServer,
    real_livekit: RealLiveKit,
    participants: Participants,
    tmp_path_factory: pytest.TempPathFactory,
    wall: FullCounts,
) -> None:
    logs = tmp_path_factory.mktemp("wandered")
    rooms = wall.count(ROOMS, short=200)
    async with wandered(livekit_server, Creates(real_livekit), rooms, logs) as (estate, wanderers):
        for tenant in TENANTS:
            room = min(estate.lasting[tenant])
            life = json.dumps({"life": estate.lasting[tenant][room], "of": mark(tenant)})
            await participants.join(room, mark(tenant), metadata=life)
        await wander(estate, wanderers, wall, "a real LiveKit, rooms in memory, real participants")


@pytest.mark.wall
async def test_nothing_leaks_on_a_livekit_that_keeps_rooms_in_redis(
    livekit_server_on_redis: LiveKitServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    wall: FullCounts,
) -> None:
    logs = tmp_path_factory.mktemp("wandered-on-redis")
    rooms = wall.count(ROOMS, short=200)
    async with wandered(livekit_server_on_redis, Stores(redis_server), rooms, logs) as (estate, wanderers):
        try:
            await wander(estate, wanderers, wall, "a real LiveKit, rooms in Redis")
        finally:
            await redis_server.remove_rooms(estate.names)
