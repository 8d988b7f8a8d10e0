"""The edge and the service over mutual TLS, as processes, while all their certificates change under load."""

import asyncio
import ssl
from pathlib import Path

from tests.edge.edge_process import EdgeProcess, eventually
from tests.end_to_end.rotating import replace
from tests.service.service_process import running
from tests.support.certificate_authority import Authority
from tests.support.certificates import Certificate
from tests.support.livekit_double import LiveKitDouble
from tools.ports import free_tcp_port

TENANT, SECRET = "acme", "secret-of-acme"


def service_with(livekit: LiveKitDouble, address: str, own: Certificate, clients: Path) -> dict[str, str]:
    """The settings of a service with mutual TLS."""
    return {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
        "AUTH_REQUIRED": "true",
        "AUTH_API_SECRET": SECRET,
        "AUTH_API_SECRET_ID": TENANT,
        "TENANTROOMS_GRPC_LISTEN": address,
        "TENANTROOMS_GRPC_TLS_CERT_FILE": str(own.certificate),
        "TENANTROOMS_GRPC_TLS_KEY_FILE": str(own.key),
        "TENANTROOMS_GRPC_TLS_CLIENT_CA_FILE": str(clients),
    }


def edge_with(address: str, own: Certificate, trusted: Path) -> dict[str, str]:
    """The settings of an edge that calls it."""
    return {
        "TENANTROOMS_GRPC_TARGET": address,
        "TENANTROOMS_EDGE_GRPC_TLS": "true",
        "TENANTROOMS_EDGE_GRPC_CA_FILE": str(trusted),
        "TENANTROOMS_EDGE_GRPC_CERT_FILE": str(own.certificate),
        "TENANTROOMS_EDGE_GRPC_KEY_FILE": str(own.key),
    }


def put(new: Certificate, into: Certificate) -> None:
    replace(into.certificate, new.certificate.read_bytes())
    replace(into.key, new.key.read_bytes())


async def test_nobody_notices_when_every_certificate_and_the_edges_authority_change(tmp_path: Path) -> None:
    authority, next_authority = Authority(tmp_path), Authority(tmp_path, "next")
    service_pair, edge_pair = authority.issue("service"), authority.issue("edge")
    own, clients, trusted = authority.issue("https"), tmp_path / "clients.pem", tmp_path / "trusted.pem"
    clients.write_bytes(authority.pem + next_authority.pem)
    trusted.write_bytes(authority.pem + next_authority.pem)
    address = f"127.0.0.1:{free_tcp_port()}"
    async with (
        LiveKitDouble() as livekit,
        running(**service_with(livekit, address, service_pair, clients)) as service,
        EdgeProcess(
            {
                **edge_with(address, edge_pair, trusted),
                "TENANTROOMS_EDGE_TLS_CERT_FILE": str(own.certificate),
                "TENANTROOMS_EDGE_TLS_KEY_FILE": str(own.key),
            },
            ssl.create_default_context(cadata=(authority.pem + next_authority.pem).decode()),
        ) as edge,
    ):
        livekit.put_room("lobby", owner=TENANT)
        over = False
        names: list[str] = []

        async def list_on() -> None:
            while not over:
                reply = await edge.ask("/livekit/rooms", ("Authorization", f"Bearer {SECRET}"))
                assert reply.status == 200, reply
                names.extend(room["name"] for room in reply.json["rooms"])

        asking = [asyncio.create_task(list_on()) for _ in range(4)]

        async def edge_logged(event: str) -> bool:
            return f'"event": "{event}"' in edge.log

        put(next_authority.issue("service-2"), service_pair)
        await service.logs("changed files were taken up")
        put(next_authority.issue("edge-2"), edge_pair)
        put(next_authority.issue("https-2"), own)
        await eventually(lambda: edge_logged("tls_files_taken_up"))
        await eventually(lambda: edge_logged("workers_replaced"))
        replace(clients, next_authority.pem)
        await service.logs("changed files were taken up")
        before = len(names)
        await eventually(lambda: asyncio.sleep(0, len(names) > before + 20))
        over = True
        await asyncio.gather(*asking)
        assert set(names) == {"lobby"}
        assert await edge.stop() == 0


async def test_an_edge_whom_the_service_does_not_trust_gets_nothing(tmp_path: Path) -> None:
    authority, strangers = Authority(tmp_path), Authority(tmp_path, "strangers")
    service_pair, edge_pair = authority.issue("service"), strangers.issue("edge")
    address = f"127.0.0.1:{free_tcp_port()}"
    async with (
        LiveKitDouble() as livekit,
        running(**service_with(livekit, address, service_pair, authority.file)),
        EdgeProcess(edge_with(address, edge_pair, authority.file)) as edge,
    ):
        reply = await edge.ask("/livekit/rooms", ("Authorization", f"Bearer {SECRET}"))
        assert (reply.status, reply.json) == (503, {"error": "Service unavailable"})
        assert not livekit.requests
