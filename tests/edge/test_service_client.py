"""The connection to the service: plain text, TLS, mutual TLS, and files that are replaced meanwhile."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from edge.relay.client import open_relay
from edge.service_client import ServiceClient
from edge.settings import EdgeSettings
from edge.tls_files import TlsFiles, load_service_tls
from tenantrooms.v1.tenant_rooms_pb2 import GetRoomResponse
from tenantrooms_client import TenantRoomsError
from tests.edge.fake_relay import FakeRelay
from tests.edge.fake_service import FakeService
from tests.support.certificate_authority import Authority
from tests.support.certificates import Certificate

NEVER = 3600.0
OFTEN = 0.005


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def server_credentials(own: Certificate, clients: Authority | None = None) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(own.key.read_bytes(), own.certificate.read_bytes())],
        None if clients is None else clients.pem,
        require_client_auth=clients is not None,
    )


@asynccontextmanager
async def client_of(
    service: FakeService | FakeRelay, environment: dict[str, str], look_seconds: float = NEVER
) -> AsyncIterator[ServiceClient]:
    settings = EdgeSettings.from_env({"TENANTROOMS_GRPC_TARGET": service.address, **environment})
    files = TlsFiles(settings.service_files, load_service_tls) if settings.service_files else None
    async with ServiceClient(settings, files, look_seconds) as client:
        yield client


async def ask(client: ServiceClient) -> None:
    await client.list_rooms_page(page_size=1, page_token="", token=None, timeout=10, metadata=())


def tls(authority: Authority, client: Certificate | None = None) -> dict[str, str]:
    pair = (
        {}
        if client is None
        else {
            "TENANTROOMS_EDGE_GRPC_CERT_FILE": str(client.certificate),
            "TENANTROOMS_EDGE_GRPC_KEY_FILE": str(client.key),
        }
    )
    return {
        "TENANTROOMS_EDGE_GRPC_TLS": "true",
        "TENANTROOMS_EDGE_GRPC_CA_FILE": str(authority.file),
        **pair,
    }


async def test_without_settings_it_is_plain_text() -> None:
    async with FakeService() as service, client_of(service, {}) as client:
        await ask(client)


async def test_tls_checks_who_vouches_for_the_service(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with FakeService(credentials=server_credentials(authority.issue("service"))) as service:
        async with client_of(service, tls(authority)) as client:
            await ask(client)
        for environment in ({}, tls(other)):
            async with client_of(service, environment) as client:
                with pytest.raises(TenantRoomsError):
                    await ask(client)
    assert len(service.calls) == 1


async def test_the_systems_authorities_are_trusted_when_no_others_are_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))  # as OpenSSL would be told of others
    async with (
        FakeService(credentials=server_credentials(authority.issue("service"))) as service,
        client_of(service, {"TENANTROOMS_EDGE_GRPC_TLS": "true"}) as client,
    ):
        await ask(client)


async def test_the_name_in_the_services_certificate_is_checked_and_may_be_told(authority: Authority) -> None:
    own = authority.issue("service", hosts=["rooms.example"])
    async with FakeService(credentials=server_credentials(own)) as service:
        async with client_of(service, tls(authority)) as client:
            with pytest.raises(TenantRoomsError):
                await ask(client)
        environment = {**tls(authority), "TENANTROOMS_EDGE_GRPC_SERVER_NAME": "rooms.example"}
        async with client_of(service, environment) as client:
            await ask(client)


async def test_with_mutual_tls_the_service_knows_the_edge(authority: Authority) -> None:
    credentials = server_credentials(authority.issue("service"), authority)
    async with FakeService(credentials=credentials) as service:
        async with client_of(service, tls(authority, authority.issue("edge"))) as client:
            await ask(client)
        async with client_of(service, tls(authority)) as client:
            with pytest.raises(TenantRoomsError):
                await ask(client)
    assert [call.client for call in service.calls] == ["edge"]


def put(new: Certificate, into: Certificate) -> None:
    """The new pair in the files of the old, one after the other as tools do it."""
    shutil.copy(new.certificate, into.certificate)
    shutil.copy(new.key, into.key)


async def changed(client: ServiceClient) -> None:
    """Returns when another channel is in use."""
    first = client.current
    async with asyncio.timeout(20):
        while client.current is first:  # noqa: ASYNC110 - the files set no events
            await asyncio.sleep(OFTEN)


async def test_a_new_pair_is_shown_from_then_on_and_calls_under_way_end_with_the_old(
    authority: Authority,
) -> None:
    in_use, new = authority.issue("edge"), authority.issue("edge-2")
    credentials = server_credentials(authority.issue("service"), authority)
    async with (
        FakeService(credentials=credentials) as service,
        client_of(service, tls(authority, in_use), OFTEN) as client,
    ):
        service.script.hold = asyncio.Event()
        under_way = asyncio.create_task(ask(client))
        await service.script.arrived.wait()
        put(new, in_use)
        await changed(client)
        after = asyncio.create_task(ask(client))
        while len(service.calls) < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(OFTEN)
        service.script.hold.set()
        await asyncio.gather(under_way, after)
        assert [call.client for call in service.calls] == ["edge", "edge-2"]


async def test_the_relay_goes_over_to_a_new_pair_without_losing_a_call(authority: Authority) -> None:
    in_use, new = authority.issue("edge"), authority.issue("edge-2")
    credentials = server_credentials(authority.issue("service"), authority)
    async with (
        FakeRelay(credentials=credentials) as relay,
        client_of(relay, tls(authority, in_use), OFTEN) as client,
        open_relay(client.exchange, client) as relayed,
    ):
        client.on_change = relayed.renew
        deadline = asyncio.get_running_loop().time() + 10
        under_way = asyncio.create_task(relayed.get_room("a", token=None, deadline=deadline, metadata=()))
        first = await relay.stream()
        call = await first.call()
        put(new, in_use)
        second = await relay.stream()
        after = asyncio.create_task(relayed.get_room("b", token=None, deadline=deadline, metadata=()))
        second.answer(await second.call(), GetRoomResponse())
        await after
        first.answer(call, GetRoomResponse())
        await under_way
        assert (first.client, second.client) == ("edge", "edge-2")


async def test_no_call_fails_while_pairs_and_authorities_change(authority: Authority, tmp_path: Path) -> None:
    in_use = authority.issue("edge")
    pairs = [authority.issue("edge-2"), authority.issue("edge-3")]
    credentials = server_credentials(authority.issue("service"), authority)
    async with (
        FakeService(credentials=credentials) as service,
        client_of(service, tls(authority, in_use), OFTEN) as client,
    ):
        over = False

        async def call() -> None:
            while not over:
                await ask(client)

        calling = [asyncio.create_task(call()) for _ in range(4)]
        for round_ in range(6):
            put(pairs[round_ % 2], in_use)
            authority.file.write_bytes(authority.pem * (round_ + 1))
            await changed(client)
        over = True
        await asyncio.gather(*calling)
        assert {call.client for call in service.calls} >= {"edge-2", "edge-3"}


async def test_a_broken_pair_is_refused_with_a_word_in_the_log_and_the_old_stays(
    authority: Authority,
) -> None:
    in_use = authority.issue("edge")
    credentials = server_credentials(authority.issue("service"), authority)
    with capture_logs() as logs:
        async with (
            FakeService(credentials=credentials) as service,
            client_of(service, tls(authority, in_use), OFTEN) as client,
        ):
            in_use.key.write_text("no key")
            async with asyncio.timeout(20):
                while not logs:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(OFTEN)
            await ask(client)
            assert service.calls[-1].client == "edge"
            put(authority.issue("edge-2"), in_use)
            await changed(client)
            await ask(client)
            assert service.calls[-1].client == "edge-2"
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("error", "tls_files_refused"),
        ("info", "tls_files_taken_up"),
    ]
    assert logs[0]["problem"] == "the file holds no unencrypted private key in PEM form"
