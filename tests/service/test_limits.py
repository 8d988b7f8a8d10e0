"""Floods, by either door: who floods is refused, before authentication if possible, and nobody else is."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from service.metrics import Metrics
from service.server import running_server
from service.settings import load
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import GET_ROOM, LIST_ROOMS, Outcome, bearer, call
from tests.service.relay_calls import RelayCaller, relayed, relaying
from tests.service.test_server import ACME, CLOSED, GLOBEX, OPERATOR
from tests.support.auth_service import AuthServiceDouble, p256_key, pem
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import Hold

OWN = pb.GetRoomRequest(room_name="own")


class Doors:
    """A service by its two doors, and what it has counted."""

    def __init__(self, channel: grpc.aio.Channel, caller: RelayCaller, registry: CollectorRegistry) -> None:
        self.channel, self.caller, self.registry = channel, caller, registry

    def refused(self, limit: str) -> float:
        return self.registry.get_sample_value("tenantrooms_refusals_total", {"limit": limit}) or 0.0

    async def both(self, rpc: str, request: pb.GetRoomRequest | bytes, token: str | None) -> list[Outcome]:
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        metadata = bearer(token)
        return [await call(self.channel, rpc, raw, metadata), await self.caller.call(rpc, raw, metadata)]


@asynccontextmanager
async def service(folder: Path, double: LiveKitDouble, **settings: str) -> AsyncIterator[Doors]:
    metrics = Metrics()
    environment = {
        "TENANTROOMS_GRPC_LISTEN": f"unix:{folder}/s",
        "LIVEKIT_URL": double.ws_url,
        "LIVEKIT_API_KEY": double.api_key,
        "LIVEKIT_API_SECRET": double.api_secret,
        **settings,
    }
    async with (
        running_server(load(environment), metrics),
        grpc.aio.insecure_channel(f"unix:{folder}/s") as channel,
        relaying(channel) as caller,
    ):
        yield Doors(channel, caller, metrics.registry)


@pytest.fixture
def livekit(livekit_double: LiveKitDouble) -> LiveKitDouble:
    for name, owner in (("own", "acme"), ("foreign", "globex")):
        livekit_double.put_room(name, owner=owner)
        livekit_double.put_participant(name, "somebody")
    return livekit_double


def assert_refused(outcome: Outcome, reason: str = "OVERLOADED") -> None:
    assert (outcome.code, outcome.reason) == (StatusCode.RESOURCE_EXHAUSTED, reason)
    assert outcome.retry_seconds is not None
    assert outcome.retry_seconds >= 1


@pytest.mark.parametrize("by_relay", [False, True], ids=["unary", "relay"])
async def test_a_flood_is_refused_for_its_tenant_alone(
    tmp_path: Path, livekit: LiveKitDouble, by_relay: bool
) -> None:
    """MATRIX L4 in short: calls that hang take no more than their tenant's share."""
    hold = Hold()
    livekit.script_always("ListParticipants", hold)
    async with service(tmp_path, livekit, **CLOSED, TENANTROOMS_MAX_CALLS="16") as doors:
        raw = OWN.SerializeToString()
        if by_relay:
            calls = [relayed(GET_ROOM, raw, bearer(ACME), call_id=10**6 + number) for number in range(100)]
            await doors.caller.send(*calls)
            flood = asyncio.create_task(doors.caller.answers(92))
            refused = list((await flood).values())
        else:
            tasks = {
                asyncio.create_task(call(doors.channel, GET_ROOM, raw, bearer(ACME))) for _ in range(100)
            }
            refused = []
            while len(refused) < 92:
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                refused += [task.result() for task in done]
        for outcome in refused:
            assert_refused(outcome)
        assert doors.refused("credential_calls") == 92
        for token in (GLOBEX, OPERATOR):
            for outcome in await doors.both(LIST_ROOMS, b"", token):
                assert outcome.code is StatusCode.OK
        for outcome in await doors.both(GET_ROOM, pb.GetRoomRequest(room_name="own"), GLOBEX):
            assert outcome.reason == "ROOM_NOT_FOUND"
        health: Any = health_pb2_grpc.HealthStub(doors.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1
        hold.release()
        if by_relay:
            assert {one.code for one in (await doors.caller.answers(8)).values()} == {StatusCode.OK}
        else:
            assert {(await task).code for task in tasks} == {StatusCode.OK}
        for outcome in await doors.both(GET_ROOM, OWN, ACME):
            assert outcome.code is StatusCode.OK


async def test_a_flood_with_many_tokens_of_one_tenant_is_refused_by_its_tenant(
    tmp_path: Path, livekit: LiveKitDouble
) -> None:
    hold = Hold()
    livekit.script_always("ListParticipants", hold)
    secrets = [{"id": "acme", "secret": f"acme-{number}"} for number in range(40)]
    secrets.append({"id": "globex", "secret": "globex"})
    closed = {"AUTH_REQUIRED": "true", "AUTH_API_SECRETS_JSON": json.dumps(secrets)}
    async with service(tmp_path, livekit, **closed, TENANTROOMS_MAX_CALLS_PER_TENANT="3") as doors:
        metadata = [bearer(f"acme-{number}") for number in range(40)]
        tasks = {asyncio.create_task(call(doors.channel, GET_ROOM, OWN, each)) for each in metadata}
        refused: list[Outcome] = []
        while len(refused) < 37:
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            refused += [task.result() for task in done]
        for outcome in refused:
            assert_refused(outcome)
        assert doors.refused("tenant_calls") == 37
        assert (await call(doors.channel, LIST_ROOMS, b"", bearer("globex"))).code is StatusCode.OK
        hold.release()
        assert {(await task).code for task in tasks} == {StatusCode.OK}


async def test_calls_over_the_number_that_run_wait_for_their_turn(
    tmp_path: Path, livekit: LiveKitDouble
) -> None:
    hold = Hold()
    livekit.script_always("ListParticipants", hold)
    async with service(tmp_path, livekit, **CLOSED, TENANTROOMS_MAX_RUNNING_CALLS="4") as doors:
        tasks = [asyncio.create_task(call(doors.channel, GET_ROOM, OWN, bearer(ACME))) for _ in range(20)]
        await hold.reached()
        assert (await call(doors.channel, LIST_ROOMS, b"", bearer(GLOBEX))).code is StatusCode.OK
        hold.release()
        assert {outcome.code for outcome in await asyncio.gather(*tasks)} == {StatusCode.OK}


async def test_over_its_share_a_credential_costs_no_question_to_the_auth_service(
    tmp_path: Path, livekit: LiveKitDouble
) -> None:
    hold = Hold()
    livekit.script_always("ListParticipants", hold)
    key = p256_key()
    (tmp_path / "key.pem").write_bytes(pem(key))
    async with AuthServiceDouble(key, {"token": "acme", "other": "globex"}) as auth_service:
        settings = {
            "AUTH_REQUIRED": "true",
            "AUTH_SERVICE_URL": auth_service.url,
            "AUTH_SIGNING_KEY_PATH": str(tmp_path / "key.pem"),
            "TENANTROOMS_MAX_CALLS": "4",
        }
        async with service(tmp_path, livekit, **settings) as doors:
            tasks = {
                asyncio.create_task(
                    call(doors.channel, GET_ROOM, OWN, [*bearer("token"), ("x-number", str(number))])
                )
                for number in range(20)
            }
            refused = 0
            while refused < 18:
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    assert_refused(task.result())
                refused += len(done)
            await hold.reached()
            assert len(auth_service.asked) == 2
            assert (await call(doors.channel, LIST_ROOMS, b"", bearer("other"))).code is StatusCode.OK
            hold.release()
            assert {(await task).code for task in tasks} == {StatusCode.OK}


async def test_a_tenant_over_its_rate_is_refused_alike_by_either_door_whatever_it_asks(
    tmp_path: Path, livekit: LiveKitDouble
) -> None:
    async with service(tmp_path, livekit, **CLOSED, TENANTROOMS_TENANT_RATE="4/hour") as doors:
        for outcome in [
            *await doors.both(LIST_ROOMS, b"", ACME),
            *await doors.both(GET_ROOM, pb.GetRoomRequest(room_name="absent"), ACME),
        ]:
            assert outcome.reason in {"OK", "ROOM_NOT_FOUND"}
        livekit.forget()
        refusals = set()
        for name in ("own", "foreign", "absent", " ", "x" * 300):
            for outcome in await doors.both(GET_ROOM, pb.GetRoomRequest(room_name=name), ACME):
                assert_refused(outcome, "RATE_LIMITED")
                refusals.add((outcome.details, outcome.error_info.SerializeToString()))
        assert len(refusals) == 1
        assert outcome.error_info.metadata == {"holds_for": "credential"}
        assert not livekit.requests
        assert doors.refused("tenant_rate") == 10
        for token in (GLOBEX, OPERATOR, OPERATOR, OPERATOR):
            for outcome in await doors.both(LIST_ROOMS, b"", token):
                assert outcome.code is StatusCode.OK


async def test_a_refused_credential_counts_for_nobody(tmp_path: Path, livekit: LiveKitDouble) -> None:
    async with service(tmp_path, livekit, **CLOSED, TENANTROOMS_TENANT_RATE="2/hour") as doors:
        for token in (None, "nobody's", None, "nobody's"):
            for outcome in await doors.both(LIST_ROOMS, b"", token):
                assert outcome.code is StatusCode.UNAUTHENTICATED
        for outcome in await doors.both(LIST_ROOMS, b"", ACME):
            assert outcome.code is StatusCode.OK


async def test_where_the_auth_service_names_the_tenant_a_refusal_holds_for_the_call_alone(
    tmp_path: Path, livekit: LiveKitDouble
) -> None:
    """It may name another for the same token, so nobody must conclude from one call to the next."""
    key = p256_key()
    (tmp_path / "key.pem").write_bytes(pem(key))
    async with AuthServiceDouble(key, {"token": "acme"}) as auth_service:
        settings = {
            "AUTH_REQUIRED": "true",
            "AUTH_SERVICE_URL": auth_service.url,
            "AUTH_SIGNING_KEY_PATH": str(tmp_path / "key.pem"),
            "TENANTROOMS_TENANT_RATE": "1/hour",
        }
        async with service(tmp_path, livekit, **settings) as doors:
            assert (await call(doors.channel, LIST_ROOMS, b"", bearer("token"))).code is StatusCode.OK
            for outcome in await doors.both(LIST_ROOMS, b"", "token"):
                assert_refused(outcome, "RATE_LIMITED")
                assert not outcome.error_info.metadata
