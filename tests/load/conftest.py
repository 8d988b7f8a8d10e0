"""TenantRooms on a LiveKit of its own whose rooms are in Redis, and what its processes hold."""

import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.callers import Callers
from tests.end_to_end.conftest import running
from tests.load.processes import Counted, Held, workers
from tests.support.redis_server import HOW_TO_INSTALL, RedisServer, redis_binary
from tools.livekit_server import LiveKitServer


@dataclass(frozen=True)
class Stage:
    """All that runs.

    Attributes:
        callers: of TenantRooms.
        livekit: what is behind it.
        redis: what is behind that, to put rooms into.
        counted: tells what the processes hold.
    """

    callers: Callers
    livekit: LiveKitServer
    redis: RedisServer
    counted: Counted

    @property
    def url(self) -> str:
        """Where the edge answers."""
        return self.callers.stack.url

    @property
    def pids(self) -> dict[str, int]:
        """The service and the edge's workers."""
        at_work = {f"worker {place}": pid for place, pid in enumerate(workers(self.callers.stack), 1)}
        return {"service": self.callers.stack.service.pid} | at_work

    async def held(self) -> dict[str, Held]:
        """What each of the processes holds."""
        return {name: await self.counted.held(pid) for name, pid in self.pids.items()}

    async def leaks(self, before: dict[str, Held], *, descriptors: int = 5) -> dict[str, tuple[Held, Held]]:
        """What holds more tasks than before, or so many descriptors more, although nobody calls."""
        found = {}
        for name, pid in self.pids.items():
            now = await self.counted.settled(pid, before[name], descriptors=descriptors)
            if now.tasks > before[name].tasks or now.descriptors > before[name].descriptors + descriptors:
                found[name] = before[name], now
        return found


@pytest.fixture(scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """With AUTH_REQUIRED on. All tests of this folder share it; each leaves it running and without rooms."""
    binary = redis_binary()
    if binary is None:
        pytest.skip(HOW_TO_INSTALL)
    logs: Path = tmp_path_factory.mktemp("load")
    counted = Counted(tmp_path_factory.mktemp("counted"))
    settings = {"AUTH_REQUIRED": "true", **counted.settings}
    async with (
        RedisServer(binary, tmp_path_factory.mktemp("redis"), lasting=True) as redis,
        LiveKitServer(redis_address=redis.address, log_level="error") as livekit,
        running(livekit, logs, settings) as callers,
    ):
        # Times are taken in this process: its collector must not look through all that pytest holds.
        gc.collect()
        gc.freeze()
        counted.livekit_port = urlsplit(livekit.url).port or 0
        yield Stage(callers, livekit, redis, counted)
        gc.unfreeze()
