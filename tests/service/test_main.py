"""`python -m service` as a process: what it refuses to start with, how it starts, and how it stops."""

import asyncio
import datetime as dt
import json
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.service.grpc_calls import LIST_ROOMS, bearer, call, get_room
from tests.service.service_process import Service, running
from tests.support.certificate_authority import DAY, Authority
from tests.support.identity_provider import IdentityProviderDouble, ec_key
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import Hang

CANARY = "canary-5ecret"


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/s"


def in_front_of(double: LiveKitDouble, address: str) -> dict[str, str]:
    return {
        "TENANTROOMS_GRPC_LISTEN": address,
        "LIVEKIT_URL": double.ws_url,
        "LIVEKIT_API_KEY": double.api_key,
        "LIVEKIT_API_SECRET": double.api_secret,
        "AUTH_API_SECRET": CANARY,
    }


async def test_bad_settings_end_it_with_all_problems_and_no_secret() -> None:  # MATRIX P5
    entry = {"id": "acme", "secret": CANARY}
    service = await Service.start(
        AUTH_REQIURED="true",
        AUTH_API_SECRETS_JSON=json.dumps([entry, entry, {"id": "b", "secret": ""}]),
        AUTH_API_SECRET=f"{CANARY} ",
        LIVEKIT_API_KEY=CANARY,
        LIVEKIT_URL=f"wss://devkey:{CANARY}",
        TENANTROOMS_REFLEXION="false",
    )
    assert await service.ended() == 2
    assert CANARY not in service.said
    title, *problems = service.said.splitlines()
    assert title == "The settings cannot be used:"
    assert [problem.split()[:2] for problem in problems] == [
        ["-", "AUTH_API_SECRET"],
        ["-", "AUTH_API_SECRETS_JSON"],
        ["-", "AUTH_REQIURED"],
        ["-", "LIVEKIT_API_KEY"],
        ["-", "LIVEKIT_URL"],
        ["-", "TENANTROOMS_REFLEXION"],
    ]


async def test_a_taken_port_is_named_with_the_setting_that_moves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service = await Service.start(TENANTROOMS_GRPC_LISTEN=address)
        assert await service.ended() == 2
    assert f"Cannot listen on {address}" in service.said
    assert "TENANTROOMS_GRPC_LISTEN" in service.said
    assert "Traceback" not in service.said


async def test_a_taken_metrics_port_is_named_with_the_setting_that_moves_it(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        metrics = f"127.0.0.1:{taken.getsockname()[1]}"
        service = await Service.start(TENANTROOMS_GRPC_LISTEN=address, TENANTROOMS_METRICS_LISTEN=metrics)
        assert await service.ended() == 2
    assert f"Cannot listen on {metrics}" in service.said
    assert "TENANTROOMS_METRICS_LISTEN" in service.said
    assert "Traceback" not in service.said


async def test_an_audit_log_that_cannot_be_written_keeps_it_from_starting(
    address: str, tmp_path: Path
) -> None:
    service = await Service.start(TENANTROOMS_GRPC_LISTEN=address, TENANTROOMS_AUDIT_LOG=str(tmp_path))
    assert await service.ended() == 2
    assert "TENANTROOMS_AUDIT_LOG names a file that cannot be written" in service.said
    assert "Traceback" not in service.said


async def test_metrics_show_scans_fetches_and_reloads(
    address: str, tmp_path: Path, livekit_double: LiveKitDouble
) -> None:
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps([{"id": "acme", "secret": CANARY}]))
    for name, owner in (("a", "acme"), ("b", "globex"), ("c", None)):
        livekit_double.put_room(name, owner=owner)
    environment = in_front_of(livekit_double, address)
    del environment["AUTH_API_SECRET"]
    async with (
        IdentityProviderDouble([ec_key("k")]) as provider,
        running(
            **environment,
            AUTH_API_SECRETS_JSON_FILE=str(secrets),
            TENANTROOMS_METRICS_LISTEN="127.0.0.1:0",
            TENANTROOMS_OIDC_ISSUER="https://idp.example",
            TENANTROOMS_OIDC_AUDIENCE="rooms",
            TENANTROOMS_OIDC_TENANT_CLAIM="org",
            TENANTROOMS_OIDC_JWKS_URL=provider.jwks_url,
        ) as service,
        grpc.aio.insecure_channel(address) as channel,
    ):
        metrics = f"http://127.0.0.1:{service.metrics_port}/metrics"
        assert (await call(channel, LIST_ROOMS, metadata=bearer(CANARY))).code is StatusCode.OK
        secrets.write_text("broken")
        await service.logs("changed files are not taken up, what was read before stays in use")
        async with aiohttp.ClientSession() as session, session.get(metrics) as answer:
            shown = await answer.text()
    assert {
        'tenantrooms_rooms{owner="tenant"} 2.0',
        'tenantrooms_rooms{owner="nobody"} 1.0',
        'tenantrooms_ownerless_rooms{reason="no_metadata"} 1.0',
        'tenantrooms_reloads_total{outcome="failure"} 1.0',
        "tenantrooms_reload_last_successful 0.0",
        'tenantrooms_key_set_fetches_total{outcome="success"} 1.0',
    } <= set(shown.splitlines())
    assert not any(word in shown for word in ("acme", "globex", CANARY))


async def test_a_second_service_leaves_the_first_ones_socket_alone(address: str) -> None:
    async with running(TENANTROOMS_GRPC_LISTEN=address):
        second = await Service.start(TENANTROOMS_GRPC_LISTEN=address)
        assert await second.ended() == 2
        assert f"Cannot listen on {address}" in second.said
        async with grpc.aio.insecure_channel(address) as channel:
            assert (await get_room(channel, "lobby")).reason == "LIVEKIT_NOT_CONFIGURED"


async def test_a_killed_services_socket_is_taken_by_the_next(address: str) -> None:
    async with running(TENANTROOMS_GRPC_LISTEN=address) as killed:
        killed.process.kill()
        await killed.process.wait()
        async with running(TENANTROOMS_GRPC_LISTEN=address):
            pass


@pytest.mark.parametrize("broken", ["key", "date"])
async def test_certificates_that_cannot_be_used_end_it_with_the_reason(
    address: str, tmp_path: Path, broken: str
) -> None:
    authority = Authority(tmp_path)
    ends = dt.datetime.now(dt.UTC) - DAY if broken == "date" else None
    own, other = authority.issue("own", ends=ends), authority.issue("other")
    key = other.key if broken == "key" else own.key
    service = await Service.start(
        TENANTROOMS_GRPC_LISTEN=address,
        TENANTROOMS_GRPC_TLS_CERT_FILE=str(own.certificate),
        TENANTROOMS_GRPC_TLS_KEY_FILE=str(key),
    )
    assert await service.ended() == 2
    title, problem = [line for line in service.said.splitlines() if not line.startswith("{")]
    assert title == "The settings cannot be used:"
    assert problem.startswith(
        "  - TENANTROOMS_GRPC_TLS_KEY_FILE names a key that is not that of the first certificate"
        if broken == "key"
        else "  - TENANTROOMS_GRPC_TLS_CERT_FILE names a certificate that ended on "
    )
    assert not any(line in service.said for line in key.read_text().splitlines())


async def test_a_client_writes_nothing_into_the_log(tmp_path: Path, address: str) -> None:
    def frame(kind: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, 0, 0, 0, 0, 0]) + payload

    settings, ping, goaway, ping_ack = 4, 6, 7, bytes([0, 0, 8, 6, 1])
    forged = b'\x1b[31m\n{"event": "forged", "level": "info"}\n'
    async with running(TENANTROOMS_GRPC_LISTEN=address) as service:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, b""))
        writer.write(frame(goaway, bytes([0] * 7 + [2]) + forged) + frame(ping, bytes(8)))
        await reader.readuntil(ping_ack)  # it has seen the frame before that too
        writer.close()
        await writer.wait_closed()
        service.process.terminate()
        assert await service.ended() == 0
    assert "forged" not in service.said
    assert all(json.loads(line) for line in service.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_starts_without_livekit_says_what_is_open_and_ends_when_told(
    address: str, number: signal.Signals
) -> None:
    async with running(TENANTROOMS_GRPC_LISTEN=address) as service:
        async with grpc.aio.insecure_channel(address) as channel:
            answer = await get_room(channel, "lobby")
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "LIVEKIT_NOT_CONFIGURED")
        service.process.send_signal(number)
        assert await service.ended() == 0
    records = [json.loads(line) for line in service.lines]
    warnings = [record["event"] for record in records if record["level"] == "warning"]
    assert warnings[0].startswith("THE WALL IS OPEN")
    events = [record["event"] for record in records if record["level"] == "info"]
    assert events == ["serving", "draining", "stopped"]


async def test_it_says_that_it_leaves_and_finishes_a_call_under_way(
    address: str, livekit_double: LiveKitDouble
) -> None:  # MATRIX P1 in short
    livekit_double.put_room("lobby", owner="default")
    held = livekit_double.hold("ListRooms")
    async with running(**in_front_of(livekit_double, address)) as service:
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            calling = asyncio.create_task(get_room(channel, "lobby", CANARY))
            await held.reached()
            service.process.terminate()
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            watch.cancel()
            held.release()
            assert (await calling).code is StatusCode.OK
        assert await service.ended() == 0
    assert CANARY not in service.said
    assert livekit_double.api_secret not in service.said


@pytest.mark.parametrize("refusing", [False, True], ids=["still announcing", "already refusing"])
async def test_a_second_signal_ends_it_at_once(
    address: str, livekit_double: LiveKitDouble, refusing: bool
) -> None:
    livekit_double.script_always("ListRooms", Hang())
    patience = {"TENANTROOMS_DRAIN_SECONDS": "300", "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": "300"}
    async with (
        running(**in_front_of(livekit_double, address), **patience) as service,
        grpc.aio.insecure_channel(address) as channel,
    ):
        calling = asyncio.create_task(get_room(channel, "lobby", CANARY))
        await livekit_double.next_request()
        service.process.terminate()
        await service.logs("draining")
        if refusing:
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        service.process.terminate()
        assert await service.ended() == 0
        assert (await calling).code in (StatusCode.CANCELLED, StatusCode.UNAVAILABLE)
    assert "Traceback" not in service.said


async def test_who_watches_health_does_not_hold_up_the_stop(address: str) -> None:
    async with (
        running(TENANTROOMS_GRPC_LISTEN=address, TENANTROOMS_DRAIN_SECONDS="300") as service,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        service.process.terminate()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await service.ended() == 0
