"""The service wired up with TLS: to its callers, and to LiveKit, in front of the scripted one."""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from common.settings import SettingsError
from service.metrics import Metrics
from service.server import RunningServer, running_server
from service.settings import load
from tests.service.grpc_calls import LIST_ROOMS, Outcome, bearer, call, get_room
from tests.support.auth_service import AuthServiceDouble, p256_key, pem
from tests.support.certificate_authority import DAY, Authority
from tests.support.certificates import Certificate, self_signed
from tests.support.identity_provider import AUDIENCE, ISSUER, IdentityProviderDouble, ec_key
from tests.support.livekit_double import LiveKitDouble
from tools.ports import free_tcp_port

NOW = dt.datetime.now(dt.UTC)
ACME, NEXT = "canary-acme-secret", "canary-next-secret"


@dataclass
class Tls:
    """The files of a service with client certificates, and its settings."""

    folder: Path
    authority: Authority
    clients: Authority

    @property
    def server(self) -> Certificate:
        return Certificate(self.folder / "server.pem", self.folder / "server.key")

    def settings(self, address: str, **more: str) -> dict[str, str]:
        return {
            "TENANTROOMS_GRPC_LISTEN": address,
            "TENANTROOMS_GRPC_TLS_CERT_FILE": str(self.server.certificate),
            "TENANTROOMS_GRPC_TLS_KEY_FILE": str(self.server.key),
            "TENANTROOMS_GRPC_TLS_CLIENT_CA_FILE": str(self.clients.file),
            **more,
        }

    def channel(self, address: str, client: Certificate | None) -> grpc.aio.Channel:
        """A channel with a connection of its own."""
        pair = (client.key.read_bytes(), client.certificate.read_bytes()) if client else (None, None)
        return grpc.aio.secure_channel(
            address,
            grpc.ssl_channel_credentials(self.authority.pem, *pair),
            options=[("grpc.use_local_subchannel_pool", 1)],
        )

    async def reaches(self, address: str, client: Certificate) -> bool:
        async with self.channel(address, client) as channel:
            answer = await get_room(channel, "own", ACME)
        assert answer.code in (StatusCode.FAILED_PRECONDITION, StatusCode.UNAVAILABLE)
        return answer.code is StatusCode.FAILED_PRECONDITION  # LiveKit is not configured


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    authority = Authority(tmp_path)
    authority.issue("server")
    return Tls(tmp_path, authority, Authority(tmp_path, "clients"))


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_tcp_port()}"


# --- callers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"AUTH_REQUIRED": "true", "AUTH_API_SECRET": ACME}, "CREDENTIAL_MISSING"),
        ({"AUTH_API_SECRET": ACME}, "LIVEKIT_NOT_CONFIGURED"),
    ],
    ids=["door closed", "door open"],
)
async def test_a_client_certificate_is_no_credential(
    tls: Tls, address: str, settings: dict[str, str], reason: str
) -> None:
    # Named like a tenant, by an authority that the listener trusts: it is nobody all the same.
    client = tls.clients.issue("default")
    async with (
        running_server(load(tls.settings(address, **settings))),
        tls.channel(address, client) as channel,
    ):
        assert (await get_room(channel, "own")).reason == reason
        assert (await call(channel, LIST_ROOMS)).reason == reason
        assert (await get_room(channel, "own", "wrong")).reason == "CREDENTIAL_REJECTED"
        assert (await get_room(channel, "own", ACME)).reason == "LIVEKIT_NOT_CONFIGURED"


async def test_without_a_certificate_not_even_health_is_told(tls: Tls, address: str) -> None:
    async with running_server(load(tls.settings(address))), tls.channel(address, None) as channel:
        assert (await call(channel, "/grpc.health.v1.Health/Check")).code is StatusCode.UNAVAILABLE


async def test_new_certificates_are_taken_up(tls: Tls, address: str, tmp_path: Path) -> None:
    environment = tls.settings(address)
    old = tls.clients.issue("old")
    async with running_server(load(environment)) as server:
        assert await tls.reaches(address, old)
        tls.clients = Authority(tmp_path, "clients")  # the same file
        await server.take_up(load(environment))
        assert not await tls.reaches(address, old)
        assert await tls.reaches(address, tls.clients.issue("new"))
        tls.authority = Authority(tmp_path)
        tls.authority.issue("server")
        await server.take_up(load(environment))
        assert await tls.reaches(address, tls.clients.issue("new"))


async def test_a_certificate_that_has_ended_is_taken_up_neither_at_start_nor_later_nor_anything_beside_it(
    tls: Tls, address: str
) -> None:
    environment = tls.settings(address, AUTH_API_SECRET=ACME, AUTH_REQUIRED="true")
    client = tls.clients.issue("client")
    async with running_server(load(environment)) as server:
        tls.authority.issue("server", ends=NOW - DAY)
        with pytest.raises(SettingsError, match=r"TENANTROOMS_GRPC_TLS_CERT_FILE names a .* that ended on"):
            await server.take_up(load({**environment, "AUTH_API_SECRET": NEXT}))
        async with tls.channel(address, client) as channel:
            assert (await get_room(channel, "own", ACME)).reason == "LIVEKIT_NOT_CONFIGURED"
            assert (await get_room(channel, "own", NEXT)).reason == "CREDENTIAL_REJECTED"
    with pytest.raises(SettingsError, match="TENANTROOMS_GRPC_TLS_CERT_FILE"):
        async with running_server(load(environment)):
            pass


# --- LiveKit ----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def in_front_of(
    double: LiveKitDouble, url: str, folder: Path, **settings: str
) -> AsyncIterator[tuple[RunningServer, grpc.aio.Channel, dict[str, str]]]:
    """A service that asks this LiveKit at that address, a channel to it, and its settings."""
    environment = {
        "TENANTROOMS_GRPC_LISTEN": f"unix:{folder}/s",
        "LIVEKIT_URL": url,
        "LIVEKIT_API_KEY": double.api_key,
        "LIVEKIT_API_SECRET": double.api_secret,
        "AUTH_REQUIRED": "true",
        "AUTH_API_SECRET": ACME,
        **settings,
    }
    async with (
        running_server(load(environment)) as server,
        grpc.aio.insecure_channel(f"unix:{folder}/s") as channel,
    ):
        yield server, channel, environment


async def listed(channel: grpc.aio.Channel) -> Outcome:
    return await call(channel, LIST_ROOMS, metadata=bearer(ACME))


UNTRUSTED: dict[str, tuple[Callable[[Authority, Path], Certificate], str]] = {
    "self-signed": (lambda _, folder: self_signed(folder), "127.0.0.1"),
    "expired": (lambda authority, _: authority.issue("lk", ends=NOW - DAY), "127.0.0.1"),
    "for another host": (lambda authority, _: authority.issue("lk", hosts=["livekit.example"]), "127.0.0.1"),
    "for the address, asked by name": (lambda authority, _: authority.issue("lk"), "localhost"),
}


@pytest.mark.parametrize("own_ca", [True, False], ids=["own authority", "the system's"])
@pytest.mark.parametrize(("made", "host"), UNTRUSTED.values(), ids=UNTRUSTED)
async def test_a_livekit_whose_certificate_is_not_good_is_asked_nothing(
    tmp_path: Path, made: Callable[[Authority, Path], Certificate], host: str, own_ca: bool
) -> None:  # MATRIX U9
    authority = Authority(tmp_path)
    trusted = {"TENANTROOMS_LIVEKIT_CA_FILE": str(authority.file)} if own_ca else {}
    async with LiveKitDouble(tls=made(authority, tmp_path).server_context()) as double:
        url = double.ws_url.replace("127.0.0.1", host)
        async with in_front_of(double, url, tmp_path, **trusted) as (_, channel, _):
            for answer in (await listed(channel), await get_room(channel, "own", ACME)):
                assert (answer.code, answer.reason) == (StatusCode.UNAVAILABLE, "LIVEKIT_UNAVAILABLE")
                assert b"certificate" not in answer.everything.lower()
        assert double.requests == []


async def test_an_own_authority_vouches_for_livekit_and_is_replaced_while_the_service_runs(
    tmp_path: Path,
) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.pem)
    async with LiveKitDouble(tls=old.issue("lk").server_context()) as double:
        double.put_room("own", owner="default")
        async with in_front_of(double, double.ws_url, tmp_path, TENANTROOMS_LIVEKIT_CA_FILE=str(trusted)) as (
            server,
            channel,
            environment,
        ):
            assert (await listed(channel)).code is StatusCode.OK

            # What else changes leaves the connections alone: this one, and that of the probe for readiness.
            for _ in range(2):
                await server.take_up(load({**environment, "AUTH_API_SECRET_ID": "default"}))
                assert (await listed(channel)).code is StatusCode.OK
            assert len({asked.connection for asked in double.requests}) <= 2

            # The open connection is of an authority that is trusted no more: it is not used again.
            trusted.write_bytes(new.pem)
            await server.take_up(load(environment))
            assert (await listed(channel)).reason == "LIVEKIT_UNAVAILABLE"
            assert len(double.requests) == 3

            trusted.write_bytes(new.pem + old.pem)
            await server.take_up(load(environment))
            assert (await listed(channel)).code is StatusCode.OK


# --- the auth service -------------------------------------------------------------------------------------


async def test_an_own_authority_vouches_for_the_auth_service_and_is_replaced_while_the_service_runs(
    tmp_path: Path,
) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    trusted, signing = tmp_path / "trusted.pem", tmp_path / "signing.pem"
    trusted.write_bytes(old.pem)
    key = p256_key()
    signing.write_bytes(pem(key))
    address = f"unix:{tmp_path}/s"
    async with AuthServiceDouble(
        key, {ACME: "acme"}, tls=old.issue("auth-service").server_context()
    ) as double:
        environment = {
            "TENANTROOMS_GRPC_LISTEN": address,
            "AUTH_REQUIRED": "true",
            "AUTH_SERVICE_URL": double.url,
            "AUTH_SIGNING_KEY_PATH": str(signing),
            "TENANTROOMS_AUTH_SERVICE_CA_FILE": str(trusted),
        }
        async with (
            running_server(load(environment)) as server,
            grpc.aio.insecure_channel(address) as channel,
        ):
            assert (await listed(channel)).reason == "LIVEKIT_NOT_CONFIGURED"
            for pem_now, reason in (
                (new.pem, "AUTH_SERVICE_UNAVAILABLE"),
                (new.pem + old.pem, "LIVEKIT_NOT_CONFIGURED"),
            ):
                trusted.write_bytes(pem_now)
                await server.take_up(load(environment))
                assert (await listed(channel)).reason == reason
        assert len(double.asked) == 2


async def test_the_authority_of_the_identity_provider_is_replaced_and_an_unusable_one_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    ended = Authority(tmp_path, "ended", ends=NOW - DAY)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.pem)
    address, key = f"unix:{tmp_path}/s", ec_key("one")
    seconds = int(time.time())
    token = key.token(iat=seconds, exp=seconds + 240)
    fetches: asyncio.Queue[bool] = asyncio.Queue()
    metrics = Metrics()
    monkeypatch.setattr(metrics, "key_set_fetched", fetches.put_nowait)
    async with IdentityProviderDouble([key], tls=new.issue("idp").server_context()) as double:
        environment = {
            "TENANTROOMS_GRPC_LISTEN": address,
            "AUTH_REQUIRED": "true",
            "TENANTROOMS_OIDC_ISSUER": ISSUER,
            "TENANTROOMS_OIDC_AUDIENCE": AUDIENCE,
            "TENANTROOMS_OIDC_JWKS_URL": double.jwks_url,
            "TENANTROOMS_OIDC_TENANT_CLAIM": "tenant",
            "TENANTROOMS_OIDC_CA_FILE": str(trusted),
        }
        async with (
            running_server(load(environment), metrics) as server,
            grpc.aio.insecure_channel(address) as channel,
        ):
            assert await fetches.get() is False  # at start, from a server that nobody vouches for
            for unusable in (ended.pem, new.pem + old.pem[:-40], b"none"):
                trusted.write_bytes(unusable)
                with pytest.raises(SettingsError, match="TENANTROOMS_OIDC_CA_FILE"):
                    await server.take_up(load(environment))
            trusted.write_bytes(new.pem)
            await server.take_up(load(environment))
            assert (await get_room(channel, "own", token)).reason == "LIVEKIT_NOT_CONFIGURED"
    with pytest.raises(SettingsError, match="TENANTROOMS_OIDC_CA_FILE"):
        async with running_server(load({**environment, "TENANTROOMS_OIDC_CA_FILE": str(ended.file)})):
            pass
