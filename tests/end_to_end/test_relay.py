"""The hop from edge to service: by relay or without, and while the service stops, dies and comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.relay.client import open_relay
from edge.relay.stream import Exchange
from service.server import running_server
from service.settings import load
from tenantrooms.relay.v1.relay_pb2_grpc import RelayStub
from tenantrooms.v1.tenant_rooms_pb2 import GetRoomResponse
from tenantrooms_client import TenantRoomsClient
from tenantrooms_client.channel import open_channel
from tests.edge.edge_process import eventually
from tests.end_to_end.callers import ACME, GLOBEX, Callers
from tests.end_to_end.conftest import running
from tests.support.livekit_double import LiveKitDouble

UNAVAILABLE = {"error": "Service unavailable"}


@pytest.fixture(scope="module")
async def livekit() -> AsyncIterator[LiveKitDouble]:
    async with LiveKitDouble() as double:
        double.put_room("own", owner="acme")
        double.put_participant("own", "somebody")
        double.put_room("foreign", owner="globex")
        yield double


async def answers(callers: Callers) -> list[tuple[int, bytes]]:
    """What tenants get, whichever way their calls go."""
    replies = [
        await callers.rest("/livekit/rooms", ACME),
        await callers.rest("/livekit/rooms", GLOBEX),
        await callers.rest("/livekit/rooms"),
        await callers.rest_room("own", ACME),
        await callers.rest_room("own", GLOBEX),
        await callers.rest_room("absent", GLOBEX),
        await callers.rest_room(" ", ACME),
        await callers.rest("/livekit/rooms", ACME, ("X-Large", "x" * 20_000)),
    ]
    return [(reply.status, reply.body) for reply in replies]


async def until(callers: Callers, status: int) -> None:
    """Asks for a room that there is not until this is the status."""

    async def is_so() -> bool:
        return (await callers.rest_room("absent", ACME)).status == status

    await eventually(is_so)


async def test_calls_go_by_relay_and_are_answered_alike_without(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    found = {}
    for relay, state in (("true", "open"), ("false", "refused")):
        settings = {"AUTH_REQUIRED": "true", "TENANTROOMS_RELAY": relay}
        async with running(livekit, tmp_path / relay, settings) as callers:
            found[relay] = await answers(callers)
            assert f'"state": "{state}"' in callers.stack.edge.log.read_text()
    assert found["true"] == found["false"]
    assert [status for status, _ in found["true"]] == [200, 200, 401, 200, 404, 404, 400, 200]


async def test_a_service_that_stops_answers_what_is_under_way_and_one_that_starts_is_found(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    async with running(livekit, tmp_path, {"AUTH_REQUIRED": "true"}) as callers:
        service = callers.stack.service
        held = livekit.hold("ListParticipants")
        under_way = asyncio.create_task(callers.rest_room("own", ACME))
        await held.reached()
        stopping = asyncio.create_task(service.stop())
        await until(callers, 503)  # it takes no new calls
        held.release()
        assert (await under_way).status == 200
        await stopping
        assert service.returncode == 0
        await service.start()
        await until(callers, 404)


async def test_a_service_that_is_killed_is_503_until_another_is_there(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    async with running(livekit, tmp_path, {"AUTH_REQUIRED": "true"}) as callers:
        held = livekit.hold("ListRooms")
        under_way = asyncio.create_task(callers.rest("/livekit/rooms", ACME))
        await held.reached()
        await callers.stack.service.kill()
        reply = await under_way
        assert (reply.status, reply.json) == (503, UNAVAILABLE)
        held.release()
        await callers.stack.service.start()
        await until(callers, 404)
        assert (await callers.rest_room("foreign", ACME)).status == 404


async def test_connections_that_end_by_age_cost_no_call(livekit: LiveKitDouble, tmp_path: Path) -> None:
    settings = load(
        {
            "TENANTROOMS_GRPC_LISTEN": f"unix:{tmp_path}/s",
            "TENANTROOMS_GRPC_MAX_CONNECTION_AGE_SECONDS": "1",
            "LIVEKIT_URL": livekit.ws_url,
            "LIVEKIT_API_KEY": livekit.api_key,
            "LIVEKIT_API_SECRET": livekit.api_secret,
        }
    )
    opened = 0

    def start() -> Exchange:
        nonlocal opened
        opened += 1
        return RelayStub(channel).Exchange()

    async with (
        running_server(settings),
        TenantRoomsClient("unix:/no/such/socket") as unary,
        open_channel(settings.grpc_listen, None, None) as channel,
        open_relay(start, unary) as client,
    ):
        while opened < 4:
            deadline = asyncio.get_running_loop().time() + 10
            answer = await client.get_room("own", token=None, deadline=deadline, metadata=())
            assert GetRoomResponse.FromString(answer).room.name == "own"
