"""Fixtures for all tests, and how hard hypothesis tries.

The profile "dev" is for every day; `pytest --hypothesis-profile=wall` walks the reliability matrix in full.
"""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from hypothesis import HealthCheck, settings

from tests.support import real_livekit as real
from tests.support.livekit_double import LiveKitDouble
from tests.support.participants import ParticipantProcess, Participants
from tests.support.real_livekit import RealLiveKit
from tests.support.redis_server import HOW_TO_INSTALL, RedisServer, redis_binary
from tests.support.twirp import TwirpCaller
from tools.livekit_server import LiveKitServer

# No deadline: one slow example on a busy machine is no failure.
settings.register_profile("dev", max_examples=100, deadline=None)
settings.register_profile(
    "wall", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("dev")


@pytest.fixture
async def livekit_double() -> AsyncIterator[LiveKitDouble]:
    """A scripted LiveKit of the test's own, without rooms."""
    async with LiveKitDouble() as double:
        yield double


@pytest.fixture
async def http_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def twirp_to_double(livekit_double: LiveKitDouble, http_session: aiohttp.ClientSession) -> TwirpCaller:
    """A plain caller of `livekit_double`."""
    return TwirpCaller(http_session, livekit_double)


@pytest.fixture(scope="session")
async def livekit_server() -> AsyncIterator[LiveKitServer]:
    """A real LiveKit that keeps its rooms in memory; all tests share it."""
    async with LiveKitServer(log_level="error") as server:
        yield server


@pytest.fixture
async def real_livekit(livekit_server: LiveKitServer) -> AsyncIterator[RealLiveKit]:
    """The shared LiveKit for one test, which removes the rooms that it made."""
    async with real.using(livekit_server) as livekit:
        yield livekit


@pytest.fixture(scope="session")
async def participant_process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ParticipantProcess]:
    """Where real participants live; all tests share it."""
    async with ParticipantProcess(tmp_path_factory.mktemp("participants") / "log") as process:
        yield process


@pytest.fixture
async def participants(
    real_livekit: RealLiveKit, participant_process: ParticipantProcess
) -> AsyncIterator[Participants]:
    """Real participants for the rooms of `real_livekit`."""
    async with Participants(real_livekit, participant_process) as joined:
        yield joined


@pytest.fixture(scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    """A Redis; all tests share it. Without redis-server on the machine its tests are skipped."""
    binary = redis_binary()
    if binary is None:
        pytest.skip(HOW_TO_INSTALL)
    async with RedisServer(binary, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
async def livekit_server_on_redis(redis_server: RedisServer) -> AsyncIterator[LiveKitServer]:
    """A real LiveKit that keeps its rooms in Redis, as one of many nodes does; all tests share it."""
    async with LiveKitServer(redis_address=redis_server.address, log_level="error") as server:
        yield server


@pytest.fixture
async def real_livekit_on_redis(livekit_server_on_redis: LiveKitServer) -> AsyncIterator[RealLiveKit]:
    """The shared LiveKit on Redis for one test, which removes the rooms that it made."""
    async with real.using(livekit_server_on_redis) as livekit:
        yield livekit
