"""How the client's channel behaves: what it tries again and what it does not, sizes, TLS, no proxies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from service.error_boundary import ErrorBoundary
from service.errors import LiveKitUnavailable
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1.tenant_rooms_pb2_grpc import add_TenantRoomsServicer_to_server
from tenantrooms_client import TenantRoomsClient, TenantRoomsError, Unavailable
from tests.service.grpc_calls import Context, Scripted
from tests.support.certificate_authority import Authority
from tests.support.certificates import self_signed
from tools.ports import free_tcp_port

ATTEMPTS = 3


@asynccontextmanager
async def serving(
    servicer: Scripted,
    *interceptors: grpc.aio.ServerInterceptor,
    port: int = 0,
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[str]:
    """Serves as the service does, with no port shared; gives the address."""
    server = grpc.aio.server(interceptors=interceptors, options=[("grpc.so_reuseport", 0)])
    add_TenantRoomsServicer_to_server(servicer, server)
    if credentials is None:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def succeed(_request: Any, _context: Context) -> pb.GetRoomResponse:
    return pb.GetRoomResponse()


@pytest.mark.parametrize("code", list(StatusCode))
async def test_a_bare_unavailable_or_cancelled_is_tried_again_and_nothing_else(code: StatusCode) -> None:
    async def fail(_request: Any, context: Context) -> pb.GetRoomResponse:
        if code is not StatusCode.OK:
            await context.abort(code, "as a stopping server, or a proxy")
        return pb.GetRoomResponse()

    servicer = Scripted(fail)
    async with serving(servicer) as target, TenantRoomsClient(target) as client:
        for ask in (lambda: client.get_room("a"), client.list_rooms_page):
            servicer.calls = 0
            try:
                await ask()
            except TenantRoomsError as error:
                assert error.code is code  # noqa: PT017 (OK raises nothing)
            tried_again = code in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)
            assert servicer.calls == (ATTEMPTS if tried_again else 1)


async def test_what_succeeds_at_the_second_attempt_is_a_success() -> None:
    async def fail_once(_request: Any, context: Context) -> pb.GetRoomResponse:
        if servicer.calls == 1:
            await context.abort(StatusCode.UNAVAILABLE)
        return pb.GetRoomResponse(room=pb.Room(name="a"))

    servicer = Scripted(fail_once)
    async with serving(servicer, ErrorBoundary()) as target, TenantRoomsClient(target) as client:
        assert (await client.get_room("a")).room.name == "a"
    assert servicer.calls == 2


async def test_an_unavailable_that_the_service_means_is_final() -> None:
    async def livekit_is_away(_request: Any, _context: Context) -> pb.GetRoomResponse:
        raise LiveKitUnavailable

    servicer = Scripted(livekit_is_away)
    async with serving(servicer, ErrorBoundary()) as target, TenantRoomsClient(target) as client:
        with pytest.raises(Unavailable) as refused:
            await client.get_room("a")
    assert refused.value.reason == "LIVEKIT_UNAVAILABLE"
    assert refused.value.request_id
    assert servicer.calls == 1


async def test_a_service_that_restarts_is_found_again() -> None:
    port = free_tcp_port()
    servicer = Scripted(succeed)
    async with TenantRoomsClient(f"127.0.0.1:{port}") as client:
        with pytest.raises(Unavailable):
            await client.get_room("a")
        for _ in range(2):
            async with serving(servicer, port=port), asyncio.timeout(30):
                while True:
                    try:
                        await client.get_room("a")
                        break
                    except Unavailable:
                        await asyncio.sleep(0.05)  # until the channel's next attempt to connect
    assert servicer.calls >= 2


async def test_an_answer_past_grpcs_own_limit_arrives() -> None:
    big = pb.GetRoomResponse(room=pb.Room(metadata="x" * 5 * 1024 * 1024))

    async def answer(_request: Any, _context: Context) -> pb.GetRoomResponse:
        return big

    async with serving(Scripted(answer)) as target, TenantRoomsClient(target) as client:
        assert await client.get_room("a") == big


async def test_a_proxy_in_the_environment_gets_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = 0

    async def proxy(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with (
        listening,
        serving(Scripted(succeed)) as target,
        TenantRoomsClient(target, token="secret") as client,
    ):
        await client.get_room("a")
    assert connections == 0


async def test_with_credentials_the_channel_is_tls_and_checks_the_certificate(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    pem, key = certificate.certificate.read_bytes(), certificate.key.read_bytes()
    servicer = Scripted(succeed)
    async with serving(servicer, credentials=grpc.ssl_server_credentials([(key, pem)])) as target:
        async with TenantRoomsClient(target, credentials=grpc.ssl_channel_credentials(pem)) as client:
            await client.get_room("a")
        assert servicer.calls == 1
        async with TenantRoomsClient(target, credentials=grpc.ssl_channel_credentials()) as client:
            with pytest.raises(Unavailable):
                await client.get_room("a")
        async with TenantRoomsClient(target) as client:
            with pytest.raises(Unavailable):
                await client.get_room("a")
    assert servicer.calls == 1


async def test_mutual_tls_and_a_name_of_the_service_s_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own, edge = authority.issue("own", hosts=["rooms.example"]), authority.issue("caller")
    server = grpc.ssl_server_credentials(
        [(own.key.read_bytes(), own.certificate.read_bytes())], authority.pem, require_client_auth=True
    )
    mutual = grpc.ssl_channel_credentials(authority.pem, edge.key.read_bytes(), edge.certificate.read_bytes())
    one_sided = grpc.ssl_channel_credentials(authority.pem)
    servicer = Scripted(succeed)
    async with serving(servicer, credentials=server) as target:
        async with TenantRoomsClient(target, credentials=mutual, server_name="rooms.example") as client:
            await client.get_room("a")
        assert servicer.calls == 1
        for credentials, name in ((one_sided, "rooms.example"), (mutual, None), (mutual, "other.example")):
            async with TenantRoomsClient(target, credentials=credentials, server_name=name) as client:
                with pytest.raises(Unavailable):
                    await client.get_room("a")
    assert servicer.calls == 1


def test_a_server_name_without_tls_is_refused() -> None:  # nobody would check it
    with pytest.raises(ValueError, match="plain text"):
        TenantRoomsClient("127.0.0.1:1", server_name="rooms.example")
