"""The service wired up as it runs, over real gRPC and in front of the scripted LiveKit."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from service.errors import RequestMalformed
from service.server import SERVICE_NAME, running_server
from service.settings import load
from service.start_errors import AddressInUse
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import LIST_ROOMS, bearer, call, get_room
from tests.support.livekit_calls import Fault
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import (
    Hang,
    PlainText,
    RawBody,
    Run,
    TwirpError,
    extra_rooms,
    html_page,
    under_another_name,
)
from tests.support.livekit_wire_faults import Reset, Truncate
from tools.ports import free_tcp_port

ACME, GLOBEX, OPERATOR = "canary-acme-secret", "canary-globex-secret", "canary-operator-secret"
TURN_PASSWORD, UPSTREAM = "canary-turn-password", "canary-upstream-text"
SECRETS = json.dumps(
    [
        {"id": "acme", "secret": ACME},
        {"id": "globex", "secret": GLOBEX},
        {"id": "on-call", "secret": OPERATOR, "role": "operator"},
    ]
)
CLOSED = {"AUTH_REQUIRED": "true", "AUTH_API_SECRETS_JSON": SECRETS}


@asynccontextmanager
async def service(
    address: str, double: LiveKitDouble | None, **settings: str
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a service with these settings, in front of this LiveKit."""
    environment = {"TENANTROOMS_GRPC_LISTEN": address, **settings}
    if double is not None:
        environment |= {"LIVEKIT_URL": double.ws_url, "LIVEKIT_API_KEY": double.api_key}
        environment["LIVEKIT_API_SECRET"] = double.api_secret
    async with running_server(load(environment)), grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/s"


@pytest.fixture
async def channel(address: str, livekit_double: LiveKitDouble) -> AsyncIterator[grpc.aio.Channel]:
    """A service with the door closed, and a room of each kind with somebody in it."""
    for name, owner in (("own", "acme"), ("foreign", "globex"), ("ownerless", None)):
        livekit_double.put_room(name, owner=owner, turn_password=TURN_PASSWORD)
        livekit_double.put_participant(name, f"{name} somebody")
    async with service(address, livekit_double, **CLOSED) as opened:
        yield opened


# --- masking ----------------------------------------------------------------------------------------------


async def test_masked_answers_do_not_differ_in_a_byte_nor_in_what_livekit_is_asked(
    channel: grpc.aio.Channel, livekit_double: LiveKitDouble
) -> None:  # MATRIX I7
    answers = {}
    for name in ("absent", "foreign", "ownerless"):
        livekit_double.forget()
        answers[name] = await get_room(channel, name, ACME)
        assert [(asked.method, asked.names) for asked in livekit_double.requests] == [("ListRooms", [name])]
    assert len({answer.but_request_id for answer in answers.values()}) == 1
    assert len({answer.request_id for answer in answers.values()}) == 3
    assert (answers["absent"].code, answers["absent"].reason) == (StatusCode.NOT_FOUND, "ROOM_NOT_FOUND")


async def test_a_room_that_goes_away_while_it_is_read_answers_as_an_absent_one(
    channel: grpc.aio.Channel, livekit_double: LiveKitDouble
) -> None:  # MATRIX U8, and I5 in short
    absent = await get_room(channel, "absent", ACME)
    faults: list[Fault] = [
        TwirpError("not_found", UPSTREAM),
        Run(after=lambda: livekit_double.put_room("own", owner="acme")),
        Run(after=lambda: livekit_double.give_room("own", "globex")),
        Run(after=lambda: livekit_double.remove_room("own")),
    ]
    for fault in faults:
        livekit_double.put_room("own", owner="acme")
        livekit_double.put_participant("own", "somebody")
        assert (await get_room(channel, "own", ACME)).code is StatusCode.OK
        livekit_double.script("ListParticipants", fault)
        assert (await get_room(channel, "own", ACME)).but_request_id == absent.but_request_id


async def test_rooms_that_were_not_asked_for_are_ignored(
    channel: grpc.aio.Channel, livekit_double: LiveKitDouble
) -> None:  # MATRIX U7
    foreign = livekit_double.room("foreign")
    absent = await get_room(channel, "absent", ACME)
    livekit_double.script("ListRooms", under_another_name("foreign"))
    assert (await get_room(channel, "own", ACME)).but_request_id == absent.but_request_id
    livekit_double.script("ListRooms", extra_rooms(foreign), extra_rooms(foreign))
    answer = await get_room(channel, "own", ACME)
    assert answer.code is StatusCode.OK
    assert b"foreign" not in answer.everything


async def test_a_tenant_gets_nothing_of_others_and_nobody_gets_livekits_secrets(
    channel: grpc.aio.Channel,
) -> None:
    for token, visible, hidden in ((ACME, b"own", b"foreign"), (GLOBEX, b"foreign", b"own some")):
        listed = await call(channel, LIST_ROOMS, metadata=bearer(token))
        detailed = await get_room(channel, visible.decode(), token)
        for answer in (listed, detailed):
            assert answer.code is StatusCode.OK
            assert visible in answer.body
            assert hidden not in answer.body
            assert b"ownerless" not in answer.body
            assert TURN_PASSWORD.encode() not in answer.everything
    everything = await call(channel, LIST_ROOMS, metadata=bearer(OPERATOR))
    assert [room.name for room in pb.ListRoomsResponse.FromString(everything.body).rooms] == [
        "foreign",
        "own",
        "ownerless",
    ]
    assert TURN_PASSWORD.encode() not in everything.body


async def test_many_tenants_at_once_see_their_own_rooms_only(
    address: str, livekit_double: LiveKitDouble
) -> None:
    tenants = [f"tenant-{number}" for number in range(10)]  # MATRIX I8 in short
    for number in range(100):
        livekit_double.put_room(f"{tenants[number % 10]}/{number}", owner=tenants[number % 10])
    secrets = json.dumps([{"id": tenant, "secret": f"secret-of-{tenant}"} for tenant in tenants])
    chance = random.Random(1)  # noqa: S311 (repeatable on purpose)

    async def check(channel: grpc.aio.Channel, tenant: str, other: str) -> None:
        token = f"secret-of-{tenant}"
        listed = await call(channel, LIST_ROOMS, metadata=bearer(token))
        names = [room.name for room in pb.ListRoomsResponse.FromString(listed.body).rooms]
        assert len(names) == 10
        assert {name.split("/")[0] for name in names} == {tenant}
        name = f"{other}/{tenants.index(other)}"
        assert ((await get_room(channel, name, token)).code is StatusCode.OK) == (tenant == other)

    async with service(
        address, livekit_double, AUTH_REQUIRED="true", AUTH_API_SECRETS_JSON=secrets
    ) as channel:
        await asyncio.gather(
            *(check(channel, chance.choice(tenants), chance.choice(tenants)) for _ in range(200))
        )


# --- faults -----------------------------------------------------------------------------------------------

FAULTS: dict[str, tuple[Fault, StatusCode, str]] = {
    "unavailable": (TwirpError("unavailable", UPSTREAM), StatusCode.UNAVAILABLE, "LIVEKIT_UNAVAILABLE"),
    "no answer in time": (Hang(), StatusCode.DEADLINE_EXCEEDED, "LIVEKIT_UNAVAILABLE"),
    "reset": (Reset(share=None), StatusCode.UNAVAILABLE, "LIVEKIT_UNAVAILABLE"),
    "broken off": (Truncate(), StatusCode.INTERNAL, "LIVEKIT_FAILED"),
    "internal": (TwirpError("internal", UPSTREAM), StatusCode.INTERNAL, "LIVEKIT_FAILED"),
    "refused token": (PlainText(401, UPSTREAM), StatusCode.INTERNAL, "LIVEKIT_FAILED"),
    "a page": (html_page(), StatusCode.INTERNAL, "LIVEKIT_FAILED"),
    "no protobuf": (RawBody(b"\xff" + UPSTREAM.encode()), StatusCode.INTERNAL, "LIVEKIT_FAILED"),
    "too large": (RawBody(bytes(2**20 + 1)), StatusCode.INTERNAL, "LIVEKIT_FAILED"),
}


@pytest.mark.parametrize(("fault", "code", "reason"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_of_livekit_is_one_answer_without_its_words_or_any_secret(
    address: str, livekit_double: LiveKitDouble, fault: Fault, code: StatusCode, reason: str
) -> None:
    livekit_double.put_room("own", owner="acme")
    limits = {
        "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": "0.3",
        "TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES": str(2**20),
    }
    livekit_double.script_always("ListRooms", fault)
    async with service(address, livekit_double, **CLOSED, **limits) as channel:
        with capture_logs() as logs:
            answers = [
                await call(channel, LIST_ROOMS, metadata=bearer(ACME)),
                await get_room(channel, "own", ACME),
                await get_room(channel, "own", OPERATOR, tenant_id="acme"),
            ]
    for answer in answers:
        assert (answer.code, answer.reason) == (code, reason)
        assert b"canary" not in answer.everything
    assert len({answer.but_request_id for answer in answers}) == 1
    assert [record["reason"] for record in logs if record["event"] == "rpc failed"] == [reason] * 3
    upstream_tokens = [
        asked.headers["Authorization"].removeprefix("Bearer ") for asked in livekit_double.requests
    ]
    for secret in (ACME, GLOBEX, OPERATOR, livekit_double.api_secret, *upstream_tokens):
        assert secret not in repr(logs)  # MATRIX S1


async def test_a_caller_that_leaves_takes_its_question_to_livekit_along(
    channel: grpc.aio.Channel, livekit_double: LiveKitDouble
) -> None:  # MATRIX C1 in short
    held = livekit_double.hold("ListRooms")
    calling = asyncio.create_task(get_room(channel, "own", ACME))
    await held.reached()
    calling.cancel()
    asked = await livekit_double.next_request()
    await asked.finished()
    assert asked.aborted


async def test_without_livekit_credentials_callers_are_told_and_the_door_still_holds(address: str) -> None:
    async with service(address, None, **CLOSED) as channel:
        for answer in (
            await call(channel, LIST_ROOMS, metadata=bearer(ACME)),
            await get_room(channel, "a", ACME),
        ):
            assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "LIVEKIT_NOT_CONFIGURED")
        assert (await get_room(channel, "a")).code is StatusCode.UNAUTHENTICATED
        assert (await get_room(channel, " ", ACME)).reason == "ROOM_NAME_BLANK"


# --- companions -------------------------------------------------------------------------------------------


async def until(stub: Any, name: str, status: Any) -> None:
    """Watches until this is said of the name."""
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=name))
    async with asyncio.timeout(30):
        while (await watch.read()).status != status:
            pass
    watch.cancel()


async def test_health_is_told_to_anybody(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    await until(stub, SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
    for name in ("", SERVICE_NAME):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert failure.value.code() is StatusCode.NOT_FOUND


async def test_the_process_serves_and_is_ready_once_livekit_answers_and_accepts_the_key(
    address: str, livekit_double: LiveKitDouble
) -> None:
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    secrets = {livekit_double.api_key: livekit_double.api_secret}
    await livekit_double.stop()
    async with service(address, livekit_double, **CLOSED) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        await until(stub, SERVICE_NAME, not_serving)
        await livekit_double.start()
        await until(stub, SERVICE_NAME, serving)
        livekit_double.accept_keys({livekit_double.api_key: "another-secret-of-thirty-two-bytes"})
        await until(stub, SERVICE_NAME, not_serving)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == serving
        livekit_double.accept_keys(secrets)
        await until(stub, SERVICE_NAME, serving)
    assert livekit_double.requests == []


async def test_health_lists_what_there_is(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    await until(stub, SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
    outcome = await call(channel, "/grpc.health.v1.Health/List")
    listed = cast(Any, health_pb2).HealthListResponse.FromString(outcome.body)
    serving = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    assert dict(listed.statuses) == {"": serving, SERVICE_NAME: serving}


async def test_without_a_key_for_livekit_it_is_never_ready(address: str) -> None:
    async with service(address, None, **CLOSED) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        await until(stub, "", health_pb2.HealthCheckResponse.SERVING)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_whoever_watches_health_hears_that_the_service_leaves(address: str) -> None:
    settings = load({"TENANTROOMS_GRPC_LISTEN": address})
    async with AsyncExitStack() as stack:
        _, health, *_ = await stack.enter_async_context(running_server(settings))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        health.leave()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await watch.read() is grpc.aio.EOF


@pytest.mark.parametrize(
    "rpc", ["/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
)
async def test_a_stream_too_answers_garbage_with_a_constant(channel: grpc.aio.Channel, rpc: str) -> None:
    opened: Any = channel.stream_stream(rpc)
    stream = opened(iter([b"\xff\xff"]))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        async for _ in stream:
            pass
    assert failure.value.code() is StatusCode.INVALID_ARGUMENT
    assert failure.value.details() == RequestMalformed.text
    assert "x-request-id" in dict(failure.value.trailing_metadata())


async def test_a_watcher_of_an_unknown_service_is_told_so(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="other"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def reflected(channel: Any) -> set[str]:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="*")]))
    async for answer in stream:
        return {service.name for service in answer.list_services_response.service}
    raise AssertionError


async def test_reflection_is_on_unless_it_is_switched_off(channel: grpc.aio.Channel, tmp_path: Path) -> None:
    assert await reflected(channel) == {
        SERVICE_NAME,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    async with service(f"unix:{tmp_path}/off", None, TENANTROOMS_REFLECTION="false") as without:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await reflected(without)
        assert failure.value.code() is StatusCode.UNIMPLEMENTED


# --- limits and addresses ---------------------------------------------------------------------------------


async def test_a_request_that_is_too_large_is_refused_unread(channel: grpc.aio.Channel) -> None:
    answer = await get_room(channel, "x" * 70_000, ACME)
    assert (answer.code, answer.trailers) == (StatusCode.RESOURCE_EXHAUSTED, ())


async def test_the_longest_token_always_gets_through(channel: grpc.aio.Channel) -> None:
    # Over its default limit gRPC refuses at random, the more often the longer.
    answers = [await get_room(channel, "own", "t" * 8192) for _ in range(30)]
    assert {answer.reason for answer in answers} == {"CREDENTIAL_REJECTED"}


async def test_two_servers_do_not_share_a_port() -> None:
    address = f"127.0.0.1:{free_tcp_port()}"
    async with service(address, None):
        with pytest.raises(AddressInUse, match=address):
            async with service(address, None):
                pass
    async with service(address, None) as channel:
        assert (await get_room(channel, "a")).code is StatusCode.FAILED_PRECONDITION
