"""Certificates that change under a stream of calls over mutual TLS, without a restart and a failed call."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.end_to_end.rotating import REFUSED, TAKEN_UP_SECONDS, in_time, replace
from tests.service.grpc_calls import get_room
from tests.support.certificate_authority import Authority
from tests.support.certificates import Certificate
from tests.support.livekit_double import LiveKitDouble
from tools.child_process import ChildProcess, basic_environment
from tools.ports import free_tcp_port
from tools.stack import IMPORT_ROOTS, ROOT

SECRET = "canary-secret-of-acme"
AGE_SECONDS, AUTH_SECONDS, LIVEKIT_SECONDS = 2, 0.1, 1
LONGEST_CALL_SECONDS = 2 * AUTH_SECONDS + 1 + 6 * LIVEKIT_SECONDS
OPEN_CONNECTION_SECONDS = 1.1 * AGE_SECONDS + LONGEST_CALL_SECONDS
"""What the guide states, for these settings."""


@dataclass
class Service:
    """A service process with mutual TLS, its files, and clients that trust both authorities of its kind."""

    process: ChildProcess
    address: str
    trusted: bytes
    pair: Certificate
    client_ca: Path

    @asynccontextmanager
    async def client(self, own: Certificate) -> AsyncIterator[grpc.aio.Channel]:
        """A channel with a connection of its own, without retries."""
        async with grpc.aio.secure_channel(
            self.address,
            grpc.ssl_channel_credentials(self.trusted, own.key.read_bytes(), own.certificate.read_bytes()),
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)],
        ) as channel:
            yield channel

    async def refuses(self, own: Certificate) -> bool:
        """Whether a new connection with this certificate is refused."""
        async with self.client(own) as channel:
            return (await get_room(channel, "own", SECRET)).code is grpc.StatusCode.UNAVAILABLE

    async def shows(self, authority: Authority, client: Certificate) -> bool:
        """Whether a new connection of this client is shown a certificate of this authority."""
        async with grpc.aio.secure_channel(
            self.address,
            grpc.ssl_channel_credentials(
                authority.pem, client.key.read_bytes(), client.certificate.read_bytes()
            ),
            options=[("grpc.use_local_subchannel_pool", 1)],
        ) as channel:
            return (await get_room(channel, "own", SECRET)).code is grpc.StatusCode.OK

    def refusals(self) -> list[dict[str, Any]]:
        lines = self.process.log.read_text().rpartition("\n")[0].splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]  # gRPC writes lines of its own
        return [record for record in records if record["event"] == REFUSED]


@dataclass
class Polling:
    """Calls without a pause over one channel, and over a new connection each."""

    calls: int = 0
    failures: list[str] = field(default_factory=list)
    _called: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def one_connection(self, service: Service, own: Certificate) -> None:
        async with service.client(own) as channel:
            while True:
                await self._call(channel)

    async def new_connections(self, service: Service, own: Certificate) -> None:
        while True:
            async with service.client(own) as channel:
                await self._call(channel)

    async def _call(self, channel: grpc.aio.Channel) -> None:
        answer = await get_room(channel, "own", SECRET)
        if answer.code is not grpc.StatusCode.OK:
            self.failures.append(f"{answer.code} {answer.details}")
        async with self._called:
            self.calls += 1
            self._called.notify_all()
        await asyncio.sleep(0.01)

    async def goes_on(self) -> None:
        """Waits for calls that begin after this."""
        enough = self.calls + 20
        async with asyncio.timeout(30), self._called:
            await self._called.wait_for(lambda: self.calls >= enough)


@asynccontextmanager
async def polling(service: Service, own: Certificate) -> AsyncIterator[Polling]:
    """Clients with this certificate, none of whose calls may fail."""
    load = Polling()
    tasks = [
        *(asyncio.create_task(load.one_connection(service, own)) for _ in range(3)),
        asyncio.create_task(load.new_connections(service, own)),
    ]
    try:
        await load.goes_on()
        yield load
        await load.goes_on()
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert load.failures == []
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


@dataclass
class Authorities:
    """Who vouches for the service and for its clients, now and next."""

    server: Authority
    next_server: Authority
    clients: Authority
    next_clients: Authority


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    names = ("server-ca", "next-server-ca", "clients-ca", "next-clients-ca")
    return Authorities(*(Authority(tmp_path, name) for name in names))


@pytest.fixture
async def service(
    livekit_double: LiveKitDouble, tmp_path: Path, authorities: Authorities
) -> AsyncIterator[Service]:
    """A service that lets the clients of both authorities in."""
    livekit_double.put_room("own", owner="default")
    pair = authorities.server.issue("pair")
    client_ca = tmp_path / "client-ca.pem"
    client_ca.write_bytes(authorities.clients.pem + authorities.next_clients.pem)
    address = f"127.0.0.1:{free_tcp_port()}"
    settings = {
        "PYTHONPATH": os.pathsep.join(map(str, IMPORT_ROOTS)),
        "TENANTROOMS_GRPC_LISTEN": address,
        "TENANTROOMS_GRPC_TLS_CERT_FILE": str(pair.certificate),
        "TENANTROOMS_GRPC_TLS_KEY_FILE": str(pair.key),
        "TENANTROOMS_GRPC_TLS_CLIENT_CA_FILE": str(client_ca),
        "TENANTROOMS_GRPC_MAX_CONNECTION_AGE_SECONDS": str(AGE_SECONDS),
        "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": str(LIVEKIT_SECONDS),
        "AUTH_TIMEOUT_SECONDS": str(AUTH_SECONDS),
        "AUTH_REQUIRED": "true",
        "AUTH_API_SECRET": SECRET,
        "LIVEKIT_URL": livekit_double.ws_url,
        "LIVEKIT_API_KEY": livekit_double.api_key,
        "LIVEKIT_API_SECRET": livekit_double.api_secret,
    }
    process = ChildProcess(
        "The service",
        [sys.executable, "-m", "service"],
        env=basic_environment(os.environ) | settings,
        log=tmp_path / "service.log",
        cwd=ROOT,
    )
    trusted = authorities.server.pem + authorities.next_server.pem
    running = Service(process, address, trusted, pair, client_ca)
    probe = authorities.clients.issue("probe")

    async def answers() -> bool:
        return not await running.refuses(probe)

    await process.start()
    try:
        await process.wait_ready(answers, 20)
        yield running
    finally:
        await process.stop()


async def test_the_services_certificate_rotates_under_a_stream_of_calls(
    service: Service, authorities: Authorities
) -> None:  # MATRIX P7
    client = authorities.clients.issue("client")
    new = authorities.next_server.issue("new")
    async with polling(service, client) as load:
        # A key that is not the certificate's, then no certificate: the old pair stays.
        replace(service.pair.key, new.key.read_bytes())
        await in_time(lambda: len(service.refusals()) == 1)
        await load.goes_on()
        replace(service.pair.certificate, "no certificate")
        await in_time(lambda: len(service.refusals()) == 2)
        await load.goes_on()
        assert await service.shows(authorities.server, client)

        replace(service.pair.certificate, new.certificate.read_bytes())
        await in_time(partial(service.shows, authorities.next_server, client))
        assert not await service.shows(authorities.server, client)
        await load.goes_on()
    said = service.process.log.read_text()
    assert not any(line in said for line in new.key.read_text().splitlines())


async def test_clients_that_are_trusted_no_more_are_out_in_time_and_the_others_never_fail(
    service: Service, authorities: Authorities
) -> None:  # MATRIX P7
    revoked, staying = authorities.clients.issue("revoked"), authorities.next_clients.issue("staying")
    async with (
        polling(service, staying),
        service.client(revoked) as calling,
        service.client(revoked) as watching,
    ):
        assert (await get_room(calling, "own", SECRET)).code is grpc.StatusCode.OK
        stub: Any = health_pb2_grpc.HealthStub(watching)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING

        replace(service.client_ca, authorities.next_clients.pem)
        await in_time(partial(service.refuses, revoked))
        async with asyncio.timeout(TAKEN_UP_SECONDS + OPEN_CONNECTION_SECONDS):
            while (await get_room(calling, "own", SECRET)).code is grpc.StatusCode.OK:
                pass
            with pytest.raises(grpc.aio.AioRpcError):  # a stream that was open all the time
                await watch.read()
        assert await service.refuses(revoked)
