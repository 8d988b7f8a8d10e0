"""The running server with other secrets and keys put into it: what holds for which call."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from common.settings import SettingsError
from service.metrics import Metrics
from service.server import running_server
from service.settings import Settings, load
from tests.service.grpc_calls import get_room
from tests.support.auth_service import AuthServiceDouble, p256_key, pem
from tests.support.identity_provider import (
    AUDIENCE,
    ISSUER,
    IdentityProviderDouble,
    SigningKey,
    ec_key,
    key_set,
    rsa_key,
)
from tests.support.livekit_double import LiveKitDouble


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/s"


def in_front_of(double: LiveKitDouble, address: str, **settings: str) -> Settings:
    return load(
        {
            "TENANTROOMS_GRPC_LISTEN": address,
            "LIVEKIT_URL": double.ws_url,
            "LIVEKIT_API_KEY": double.api_key,
            "LIVEKIT_API_SECRET": double.api_secret,
            "AUTH_REQUIRED": "true",
            **settings,
        }
    )


async def test_new_secrets_and_livekits_new_key_hold_for_the_next_call(
    livekit_double: LiveKitDouble, address: str
) -> None:
    livekit_double.put_room("lobby", owner="default")
    livekit_double.accept_keys({"next-key": livekit_double.api_secret})
    old = in_front_of(livekit_double, address, AUTH_API_SECRET="old")
    new = in_front_of(livekit_double, address, AUTH_API_SECRET="new", LIVEKIT_API_KEY="next-key")
    async with (
        running_server(old) as (_, _, take_up, _),
        grpc.aio.insecure_channel(address) as channel,
    ):
        assert (await get_room(channel, "lobby", "new")).reason == "CREDENTIAL_REJECTED"
        assert (await get_room(channel, "lobby", "old")).reason == "LIVEKIT_FAILED"
        await take_up(new)
        assert (await get_room(channel, "lobby", "old")).reason == "CREDENTIAL_REJECTED"
        assert (await get_room(channel, "lobby", "new")).code is StatusCode.OK


async def test_a_call_that_waits_for_the_auth_service_is_not_lost_when_the_key_changes(
    livekit_double: LiveKitDouble, address: str, tmp_path: Path
) -> None:
    livekit_double.put_room("lobby", owner="acme")
    key = p256_key()
    (tmp_path / "key.pem").write_bytes(pem(key))
    async with AuthServiceDouble(key, {"token": "acme"}) as auth_service:
        settings = in_front_of(
            livekit_double,
            address,
            AUTH_SERVICE_URL=auth_service.url,
            AUTH_SIGNING_KEY_PATH=str(tmp_path / "key.pem"),
        )
        async with (
            running_server(settings) as (_, _, take_up, _),
            grpc.aio.insecure_channel(address) as channel,
        ):
            auth_service.gate.clear()
            waiting = asyncio.create_task(get_room(channel, "lobby", "token"))
            await auth_service.until_asked(1)
            await take_up(settings)
            after = asyncio.create_task(get_room(channel, "lobby", "token"))
            await auth_service.until_asked(2)
            auth_service.gate.set()
            assert (await waiting).code is StatusCode.OK
            assert (await after).code is StatusCode.OK


@pytest.mark.parametrize("comes", [True, False])
async def test_a_livekit_key_that_comes_or_goes_takes_a_restart_and_changes_nothing(
    livekit_double: LiveKitDouble, address: str, comes: bool
) -> None:
    livekit_double.put_room("lobby", owner="default")
    with_key = in_front_of(livekit_double, address, AUTH_API_SECRET="secret")
    empty = {"LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}
    without = in_front_of(livekit_double, address, AUTH_API_SECRET="secret", **empty)
    first, second = (without, with_key) if comes else (with_key, without)
    async with (
        running_server(first) as (_, _, take_up, _),
        grpc.aio.insecure_channel(address) as channel,
    ):
        before = await get_room(channel, "lobby", "secret")
        with pytest.raises(SettingsError, match="takes a restart"):
            await take_up(second)
        assert (await get_room(channel, "lobby", "secret")).but_request_id == before.but_request_id


def good_for_an_hour(key: SigningKey) -> str:
    now = int(time.time())
    return key.token(iat=now, exp=now + 3600)


def with_provider(double: LiveKitDouble, address: str, **settings: str) -> Settings:
    """With an identity provider, whose keys are where the further settings say."""
    return in_front_of(
        double,
        address,
        TENANTROOMS_OIDC_ISSUER=ISSUER,
        TENANTROOMS_OIDC_AUDIENCE=AUDIENCE,
        TENANTROOMS_OIDC_TENANT_CLAIM="tenant",
        **settings,
    )


def with_keys_in(file: Path, double: LiveKitDouble, address: str) -> Settings:
    return with_provider(double, address, TENANTROOMS_OIDC_JWKS_FILE=str(file))


async def test_the_identity_providers_keys_in_a_file_change_with_everything_else(
    livekit_double: LiveKitDouble, address: str, tmp_path: Path
) -> None:
    livekit_double.put_room("lobby", owner="acme")
    old, new, file = ec_key("old"), rsa_key("new"), tmp_path / "keys.json"

    async def codes(channel: grpc.aio.Channel) -> list[StatusCode]:
        return [(await get_room(channel, "lobby", good_for_an_hour(key))).code for key in (old, new)]

    file.write_bytes(key_set(old))
    async with (
        running_server(with_keys_in(file, livekit_double, address)) as (_, _, take_up, _),
        grpc.aio.insecure_channel(address) as channel,
    ):
        file.write_bytes(key_set(new))
        changed = with_keys_in(file, livekit_double, address)
        file.unlink()
        # The file itself counts no more: what was read with the other settings does.
        assert await codes(channel) == [StatusCode.OK, StatusCode.UNAUTHENTICATED]
        await take_up(changed)
        assert await codes(channel) == [StatusCode.UNAUTHENTICATED, StatusCode.OK]


async def test_keys_that_were_fetched_outlive_a_reload(
    livekit_double: LiveKitDouble, address: str, tmp_path: Path
) -> None:
    livekit_double.put_room("lobby", owner="acme")
    key = ec_key("one")
    async with IdentityProviderDouble([key]) as double:
        settings = with_provider(
            livekit_double,
            address,
            TENANTROOMS_OIDC_JWKS_URL=double.jwks_url,
        )
        async with (
            running_server(settings) as (_, _, take_up, _),
            grpc.aio.insecure_channel(address) as channel,
        ):
            assert (await get_room(channel, "lobby", good_for_an_hour(key))).code is StatusCode.OK
            await double.stop()
            await take_up(settings)
            assert (await get_room(channel, "lobby", good_for_an_hour(key))).code is StatusCode.OK


async def test_of_tokens_whose_key_is_not_known_yet_only_a_share_of_all_calls_waits_for_it(
    livekit_double: LiveKitDouble, address: str
) -> None:
    livekit_double.put_room("lobby", owner="acme")
    key = ec_key("one")
    async with IdentityProviderDouble([key]) as double:
        double.gate.clear()
        settings = with_provider(
            livekit_double,
            address,
            TENANTROOMS_OIDC_JWKS_URL=double.jwks_url,
            TENANTROOMS_MAX_CALLS="20",
        )
        metrics = Metrics()
        async with running_server(settings, metrics), grpc.aio.insecure_channel(address) as channel:
            token = good_for_an_hour(key)
            calls = [asyncio.create_task(get_room(channel, "lobby", token)) for _ in range(4)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            double.gate.set()
            reasons = [outcome.reason for outcome in await asyncio.gather(*calls)]
        assert sorted(reasons) == ["OK", "OK", "OK", "OVERLOADED"]
        counted = metrics.registry.get_sample_value("tenantrooms_refusals_total", {"limit": "unknown_keys"})
        assert counted == 1
