"""Secrets and keys that change under a stream of calls, without a restart and without a failed call."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from aiohttp import web

from service.auth.generated_secrets import digest_of, new_secret
from tenantrooms_client import TenantRoomsError
from tests.end_to_end.callers import Callers
from tests.end_to_end.conftest import running
from tests.end_to_end.rotating import REFUSED, in_time, replace
from tests.support import identity_provider
from tests.support.auth_service import AuthServiceDouble, Key, p256_key, pem, rsa_key
from tests.support.livekit_double import LiveKitDouble

OLD, BOTH, NEW = new_secret(), "in-both-canary", "new-canary"


@dataclass
class Stream:
    """Calls one after the other, over both doors."""

    calls: int = 0
    failures: list[str] = field(default_factory=list)
    _called: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, callers: Callers, token: str) -> None:
        while True:
            answer = await callers.rest_room("own", token)
            if answer.status != 200:
                self.failures.append(f"REST: {answer.status} {answer.body!r}")
            try:
                assert await callers.grpc_names(token) == ["own"]
            except TenantRoomsError as error:
                self.failures.append(f"gRPC: {error.code} {error.reason}")
            async with self._called:
                self.calls += 2
                self._called.notify_all()
            await asyncio.sleep(0.02)

    async def goes_on(self) -> None:
        """Waits for calls that begin after this."""
        enough = self.calls + 8
        async with asyncio.timeout(30), self._called:
            await self._called.wait_for(lambda: self.calls >= enough)


@asynccontextmanager
async def stream(callers: Callers, token: str) -> AsyncIterator[Stream]:
    """A stream of calls, none of which may fail."""
    flowing = Stream()
    tasks = [asyncio.create_task(flowing.run(callers, token)) for _ in range(2)]
    try:
        await flowing.goes_on()
        yield flowing
        await flowing.goes_on()
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert flowing.failures == []
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


def logged(callers: Callers, event: str) -> list[dict[str, Any]]:
    """The records of this event in the service's log so far."""
    whole_lines = callers.stack.service.log.read_text().rpartition("\n")[0]
    return [record for record in map(json.loads, whole_lines.splitlines()) if record["event"] == event]


def refusals_are(callers: Callers, count: int) -> bool:
    return len(logged(callers, REFUSED)) == count


@pytest.fixture
async def livekit(livekit_double: LiveKitDouble) -> LiveKitDouble:
    livekit_double.put_room("own", owner="acme")
    livekit_double.put_room("foreign", owner="globex")
    return livekit_double


# --- API secrets ------------------------------------------------------------------------------------------


def as_tenants(*secrets: str) -> str:
    return yaml.safe_dump({"tenants": [{"id": "acme", "secrets": list(secrets)}]})


def as_list(*secrets: str) -> str:
    return json.dumps([{"id": "acme", "secret": secret} for secret in secrets])


@pytest.mark.parametrize(
    ("setting", "name", "written"),
    [
        ("TENANTROOMS_TENANTS_FILE", "tenants.yaml", as_tenants),
        ("AUTH_API_SECRETS_JSON_FILE", "secrets", as_list),
    ],
)
async def test_a_new_secret_works_an_old_one_dies_and_the_others_never_fail(
    livekit: LiveKitDouble, tmp_path: Path, setting: str, name: str, written: Callable[..., str]
) -> None:
    file = tmp_path / name
    replace(file, written(digest_of(OLD), BOTH))
    settings = {"AUTH_REQUIRED": "true", "AUTH_API_SECRETS_JSON": None, setting: str(file)}
    async with running(livekit, tmp_path, settings) as callers:

        async def status(token: str) -> int:
            return (await callers.rest("/livekit/rooms", token)).status

        async def rotated() -> bool:
            return (await status(NEW), await status(OLD)) == (200, 401)

        assert (await status(NEW), await status(OLD)) == (401, 200)
        assert await status(digest_of(OLD)) == 401
        async with stream(callers, BOTH):
            replace(file, written(BOTH, NEW))
            await in_time(rotated)
            assert await callers.grpc_names(NEW) == ["own"]


async def test_a_file_that_is_written_in_two_steps_harms_nobody(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(as_tenants(BOTH))
    settings = {
        "AUTH_REQUIRED": "true",
        "AUTH_API_SECRETS_JSON": None,
        "TENANTROOMS_TENANTS_FILE": str(file),
    }
    async with running(livekit, tmp_path, settings) as callers, stream(callers, BOTH) as flowing:

        async def taken_up() -> bool:
            return (await callers.rest("/livekit/rooms", NEW)).status == 200

        with file.open("w") as writing:
            text = as_tenants(NEW, BOTH)
            writing.write(text[:20])
            writing.flush()
            await flowing.goes_on()
            writing.write(text[20:])
        await in_time(taken_up)


async def test_a_broken_file_keeps_the_old_secrets_and_says_so_without_telling_any(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    file = tmp_path / "tenants.yaml"
    replace(file, as_tenants(BOTH))
    settings = {
        "AUTH_REQUIRED": "true",
        "AUTH_API_SECRETS_JSON": None,
        "TENANTROOMS_TENANTS_FILE": str(file),
    }
    async with running(livekit, tmp_path, settings) as callers, stream(callers, BOTH) as flowing:
        broken = [as_tenants(NEW, NEW), f"tenants: [{NEW}", None]
        for count, content in enumerate(broken, 1):
            if content is None:
                file.unlink()
            else:
                replace(file, content)
            await in_time(partial(refusals_are, callers, count))
            await flowing.goes_on()
            assert (await callers.rest("/livekit/rooms", NEW)).status == 401

        async def mended() -> bool:
            return (await callers.rest("/livekit/rooms", NEW)).status == 200

        replace(file, as_tenants(NEW, BOTH))
        await in_time(mended)
        records = logged(callers, REFUSED)
        assert [record["failures"] for record in records] == [1, 2, 3]
        assert {record["level"] for record in records} == {"error"}
        assert records[0]["problems"] == [
            "TENANTROOMS_TENANTS_FILE tenant 1, secret 1: the secret is in more than one entry; "
            "tenant 1, secret 2: the secret is in more than one entry"
        ]
        assert records[2]["problems"] == [
            "TENANTROOMS_TENANTS_FILE names a file that cannot be read: No such file or directory"
        ]
        said = callers.stack.service.log.read_text()
        assert all(secret not in said for secret in (BOTH, NEW))


# --- keys ---------------------------------------------------------------------------------------------------


@dataclass
class TwoKeys(AuthServiceDouble):
    """An auth service in the middle of a rotation: it knows several public keys."""

    known: list[Key] = field(default_factory=list)
    used: list[Key] = field(default_factory=list)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        for key in self.known:
            with suppress(jwt.InvalidTokenError, TypeError):  # TypeError: the other kind of key
                jwt.decode(body, key.public_key(), algorithms=["RS256", "ES256"])
                self.key = key
                self.used.append(key)
                return await super()._serve(request)
        return web.Response(status=500)


async def test_the_signing_key_rotates_under_a_stream_of_calls(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    old, new = p256_key(), rsa_key()
    file = tmp_path / "key.pem"
    replace(file, pem(old))
    async with TwoKeys(old, {"token-of-acme": "acme"}, known=[old, new]) as auth_service:
        settings = {
            "AUTH_REQUIRED": "true",
            "AUTH_API_SECRETS_JSON": None,
            "AUTH_SERVICE_URL": auth_service.url,
            "AUTH_SIGNING_KEY_PATH": str(file),
        }

        async with (
            running(livekit, tmp_path, settings) as callers,
            stream(callers, "token-of-acme") as flowing,
        ):
            assert set(auth_service.used) == {old}
            replace(file, "no key")
            await in_time(partial(refusals_are, callers, 1))
            replace(file, pem(new))
            await in_time(lambda: auth_service.used[-1] is new)
            await flowing.goes_on()
            auth_service.known.remove(old)
            await flowing.goes_on()


async def test_livekits_key_rotates_under_a_stream_of_calls(livekit: LiveKitDouble, tmp_path: Path) -> None:
    old = {livekit.api_key: livekit.api_secret}
    new = {"next-key": "the-next-secret-of-thirty-two-bytes-or-more"}
    key, secret = tmp_path / "key", tmp_path / "secret"
    replace(key, livekit.api_key + "\n")
    replace(secret, livekit.api_secret + "\n")
    settings = {
        "AUTH_API_SECRETS_JSON": json.dumps([{"id": "acme", "secret": BOTH}]),
        "LIVEKIT_API_KEY": None,
        "LIVEKIT_API_SECRET": None,
        "LIVEKIT_API_KEY_FILE": str(key),
        "LIVEKIT_API_SECRET_FILE": str(secret),
    }
    livekit.accept_keys({**old, **new})

    def issuer() -> str:
        claims = livekit.requests[-1].claims
        assert claims is not None
        return str(claims["iss"])

    async with running(livekit, tmp_path, settings) as callers, stream(callers, BOTH) as flowing:
        assert issuer() == livekit.api_key
        replace(key, "next-key\n")
        await flowing.goes_on()
        replace(secret, new["next-key"] + "\n")
        await in_time(lambda: issuer() == "next-key")
        await flowing.goes_on()
        livekit.accept_keys(new)
        await flowing.goes_on()


async def test_the_identity_providers_keys_in_a_file_rotate_under_a_stream_of_calls(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    old, new = identity_provider.ec_key("old"), identity_provider.ed25519_key("new")
    file = tmp_path / "keys.json"
    replace(file, identity_provider.key_set(old))
    settings = {
        "AUTH_REQUIRED": "true",
        "AUTH_API_SECRETS_JSON": json.dumps([{"id": "acme", "secret": BOTH}]),
        "TENANTROOMS_OIDC_ISSUER": identity_provider.ISSUER,
        "TENANTROOMS_OIDC_AUDIENCE": identity_provider.AUDIENCE,
        "TENANTROOMS_OIDC_TENANT_CLAIM": "tenant",
        "TENANTROOMS_OIDC_JWKS_FILE": str(file),
    }
    now = int(time.time())
    by_old, by_new = (key.token(iat=now, exp=now + 3600) for key in (old, new))

    async with running(livekit, tmp_path, settings) as callers, stream(callers, BOTH) as flowing:

        async def statuses() -> list[int]:
            return [(await callers.rest("/livekit/rooms", token)).status for token in (by_old, by_new)]

        async def rotated() -> bool:
            return await statuses() == [401, 200]

        assert await statuses() == [200, 401]
        of_no_allowed_kind = identity_provider.ec_key("p384", "ES384")
        for count, broken in enumerate([b"{", identity_provider.key_set(of_no_allowed_kind)], 1):
            replace(file, broken)
            await in_time(partial(refusals_are, callers, count))
            await flowing.goes_on()
            assert await statuses() == [200, 401]
        replace(file, identity_provider.key_set(new))
        await in_time(rotated)
        assert [record["failures"] for record in logged(callers, REFUSED)] == [1, 2]
