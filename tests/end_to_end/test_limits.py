"""Floods against the whole, on the real LiveKit: other tenants' answers stay right. Large lists pass."""

import asyncio
from pathlib import Path

import pytest
from livekit.protocol import models

from tenantrooms_client import ResourceExhausted
from tests.end_to_end.callers import ACME, GLOBEX
from tests.end_to_end.conftest import running
from tests.support.real_livekit import RealLiveKit
from tests.support.redis_server import RedisServer
from tools.livekit_server import LiveKitServer


async def test_a_tenant_that_floods_is_refused_alone_by_rest_and_by_grpc(
    livekit_server: LiveKitServer, real_livekit: RealLiveKit, tmp_path: Path
) -> None:
    """MATRIX L4 and L2 in short."""
    await real_livekit.create_rooms({"own": "acme", "others": "globex"})
    settings = {"AUTH_REQUIRED": "true", "TENANTROOMS_TENANT_RATE": "20/hour"}
    async with running(livekit_server, tmp_path, settings) as callers:
        flood = [callers.rest("/livekit/rooms", ACME) for _ in range(100)]
        quiet = [callers.rest("/livekit/rooms/others", GLOBEX) for _ in range(10)]
        answers = await asyncio.gather(*flood, *quiet)
        statuses = [answer.status for answer in answers]
        assert sorted(statuses[:100]) == [200] * 20 + [429] * 80
        assert statuses[100:] == [200] * 10
        for answer in answers[:100]:
            if answer.status == 429:
                assert answer.json == {"error": "Too many requests"}
                assert 1 <= int(answer.header("retry-after") or 0) <= 3600
        with pytest.raises(ResourceExhausted) as refusal:
            await callers.grpc.get_room("others", token=ACME)
        assert refusal.value.reason == "RATE_LIMITED"
        assert refusal.value.retry_seconds is not None
        assert await callers.grpc_names(GLOBEX) == ["others"]


async def test_ten_thousand_rooms_with_a_kibibyte_each_pass_for_many_at_a_time(
    livekit_server_on_redis: LiveKitServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    """MATRIX R1 in short."""
    names = [f"room-{number:04}" for number in range(10_000)]
    metadata = f'{{"auth_id":"acme","about":"{"x" * 990}"}}'
    rooms = [models.Room(sid=f"RM_{name}", name=name, metadata=metadata) for name in names]
    async with redis_server.rooms(rooms), running(livekit_server_on_redis, tmp_path, {}) as callers:
        lists = await asyncio.gather(*(callers.rest_names(ACME) for _ in range(4)), callers.grpc_names(ACME))
        assert all(listed == names for listed in lists)
        assert await callers.rest_names(GLOBEX) == []
