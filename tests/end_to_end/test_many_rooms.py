"""Lists of any length arrive whole, sorted and only the caller's."""

import pytest
from livekit.protocol import models

from tests.end_to_end.callers import ACME, GLOBEX, OPERATOR, Callers
from tests.end_to_end.conftest import running
from tests.support.real_livekit import RealLiveKit
from tests.support.redis_server import RedisServer
from tools.livekit_server import LiveKitServer


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_tenant_with_few_rooms(walled: Callers, real_livekit: RealLiveKit, count: int) -> None:
    await real_livekit.create_room("foreign", owner="globex")
    names = [f"room-{number}" for number in range(count)]
    await real_livekit.create_rooms(dict.fromkeys(reversed(names), "acme"))
    assert await walled.rest_names(ACME) == names
    assert await walled.grpc_names(ACME) == names


async def test_two_thousand_rooms_of_two_tenants(walled: Callers, real_livekit: RealLiveKit) -> None:
    owners = {f"room-{number:04}": ("acme", "globex")[number % 2] for number in range(2_000)}
    await real_livekit.create_rooms(dict(owners))
    for token, tenant in ((ACME, "acme"), (GLOBEX, "globex")):
        own = [name for name, owner in owners.items() if owner == tenant]
        assert await walled.rest_names(token) == own
        assert await walled.grpc_names(token) == own
    page = await walled.grpc.list_rooms_page(token=ACME)
    assert (len(page.rooms), page.next_page_token) == (1_000, "")
    assert await walled.rest_names(OPERATOR) == sorted(owners)


async def test_sixty_thousand_rooms_of_one_tenant_among_others(
    livekit_server_on_redis: LiveKitServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    owners = {f"room-{number:05}": "globex" if number % 7 == 0 else "acme" for number in range(70_000)}
    own = [name for name, owner in owners.items() if owner == "acme"]
    assert len(own) == 60_000
    await redis_server.put_rooms(
        models.Room(
            sid=f"RM_{name}", name=name, creation_time=1_700_000_000, metadata=f'{{"auth_id":"{owner}"}}'
        )
        for name, owner in owners.items()
    )
    try:
        logs = tmp_path_factory.mktemp("many")
        async with running(livekit_server_on_redis, logs, {"AUTH_REQUIRED": "true"}) as callers:
            assert await callers.grpc_names(ACME) == own
            assert await callers.rest_names(ACME) == own
    finally:
        await redis_server.remove_rooms(owners)
