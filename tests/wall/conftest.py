"""TenantRooms in front of a LiveKit on Redis, as a deployment of several nodes runs it."""

from collections.abc import AsyncIterator

import pytest

from tests.end_to_end.callers import Callers
from tests.end_to_end.conftest import running
from tests.support.participants import ParticipantProcess, Participants
from tests.support.real_livekit import RealLiveKit
from tools.livekit_server import LiveKitServer


@pytest.fixture(scope="session")
async def walled_on_redis(
    livekit_server_on_redis: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callers]:
    """With AUTH_REQUIRED on; the tests of this folder share it."""
    logs = tmp_path_factory.mktemp("walled-on-redis")
    async with running(livekit_server_on_redis, logs, {"AUTH_REQUIRED": "true"}) as callers:
        yield callers


@pytest.fixture
async def participants_on_redis(
    real_livekit_on_redis: RealLiveKit, participant_process: ParticipantProcess
) -> AsyncIterator[Participants]:
    """Real participants for the rooms of `real_livekit_on_redis`."""
    async with Participants(real_livekit_on_redis, participant_process) as joined:
        yield joined
