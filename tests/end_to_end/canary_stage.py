"""A whole installation full of planted secrets: every way to authenticate, debug logs, and all that it says.

`Stage.said` collects every answer; `Stage.written` is what both processes have written.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import grpc
import yaml
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1 import tenant_rooms_pb2_grpc as pb_grpc
from tests.end_to_end.callers import Callers, RestAnswer
from tests.end_to_end.conftest import running
from tests.support.auth_service import AuthServiceDouble, p256_key, pem
from tests.support.canaries import Canaries, Hit
from tests.support.identity_provider import (
    AUDIENCE,
    ISSUER,
    IdentityProviderDouble,
    SigningKey,
    ec_key,
)
from tests.support.livekit_double import LiveKitDouble
from tools.ports import free_tcp_port

ROOMS_PATH = "/livekit/rooms"
_OF_GRPC = re.compile(r"[IWE]\d{4} \d\d:\d\d:\d\d")


@dataclass
class Stage:
    """One running installation.

    Attributes:
        tenant, operator, delegated: tokens that are good.
        metrics_url: where the service's metrics can be read.
        files: the folder of the files that settings name.
        said: every answer so far: status, headers and body, or code, text and metadata.
    """

    canaries: Canaries
    livekit: LiveKitDouble
    auth_service: AuthServiceDouble
    provider: IdentityProviderDouble
    callers: Callers
    files: Path
    tenant: str
    operator: str
    delegated: str
    metrics_url: str
    said: list[bytes] = field(default_factory=list)
    _searched: dict[Path, int] = field(default_factory=dict)

    def written(self) -> bytes:
        """Both logs, whole."""
        return b"".join(path.read_bytes() for path in sorted(self.files.glob("*.log")))

    def records(self) -> list[dict[str, Any]]:
        """Every record in both logs, without what gRPC's core prints."""
        lines = self.written().decode().split("\n")
        return [json.loads(line) for line in lines if line and not _OF_GRPC.match(line)]

    def signed(
        self, key: SigningKey | None = None, headers: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token of the identity provider, good unless something is changed; planted."""
        now = int(time.time())
        claims = {"iat": now - 5, "exp": now + 600, "nonce": secrets.token_hex(30), **claims}
        token = (key or self.provider.keys[0]).token(headers, **claims)
        self.plant_jwt("a token of the identity provider", token)
        return token

    def plant_jwt(self, name: str, token: str) -> None:
        """A JWT; its header is no secret, and the same in many."""
        _, _, rest = token.partition(".")
        self.canaries.plant(name, rest)

    @property
    def audit_log(self) -> Path:
        """Where operators' reads are recorded."""
        return self.files / "audit.jsonl"

    async def metrics(self) -> bytes:
        """All that the service counts, as its page shows it to somebody who sends a secret along."""
        if not self.callers.stack.service.is_running:
            return b""
        headers, query = {"Authorization": f"Bearer {self.tenant}"}, {"api_key": self.tenant}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(self.metrics_url, params=query) as answer,
        ):
            assert answer.status == 200
            return str(answer.headers).encode() + await answer.read()

    async def rest(
        self, target: str, token: str | None = None, *headers: tuple[str, str], method: str = "GET"
    ) -> RestAnswer:
        """One request over REST, whose answer is kept."""
        answer = await self.callers.rest(target, token, *headers, method=method)
        fields = "\n".join(f"{name}: {value}" for name, value in answer.headers)
        self.said.append(f"{answer.status}\n{fields}\n\n".encode("latin-1") + answer.body)
        return answer

    async def raw(self, request: bytes) -> None:
        """Bytes that need be no HTTP request; what is answered to them, if anything, is kept."""
        address = urlsplit(self.callers.stack.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(request)
            writer.write_eof()
            self.said.append(await reader.read())
        finally:
            writer.close()

    async def grpc(
        self, metadata: Sequence[tuple[str, str | bytes]], name: str | None = None
    ) -> grpc.StatusCode:
        """One call over gRPC, whose answer is kept: a list, or the details of a room."""
        async with grpc.aio.insecure_channel(self.callers.stack.grpc_address) as channel:
            stub: pb_grpc.TenantRoomsAsyncStub = pb_grpc.TenantRoomsStub(channel)
            call: Any = (
                stub.ListRooms(pb.ListRoomsRequest(), metadata=tuple(metadata))
                if name is None
                else stub.GetRoom(pb.GetRoomRequest(room_name=name), metadata=tuple(metadata))
            )
            parts = [b""]
            if (code := await call.code()) is grpc.StatusCode.OK:
                parts = [(await call).SerializeToString()]
            pairs = [*await call.initial_metadata(), *await call.trailing_metadata()]
            parts += [value if isinstance(value, bytes) else value.encode() for _, value in pairs]
            parts.append((await call.details() or "").encode())
            self.said.append(b"\n".join(parts))
            return grpc.StatusCode(code)

    async def at_once(self, token: str) -> None:
        """Details over REST and a list over gRPC, at the same time: for what takes until a deadline."""
        await asyncio.gather(
            self.rest(f"{ROOMS_PATH}/own?api_key={token}"), self.grpc([("authorization", f"Bearer {token}")])
        )

    async def through_both_doors(self, token: str, name: str = "own") -> None:
        """List and details, over REST by header and by query, and over gRPC."""
        for path in (ROOMS_PATH, f"{ROOMS_PATH}/{name}"):
            await self.rest(path, token)
        await self.rest(f"{ROOMS_PATH}/{name}?api_key={token}")
        for asked in (None, name):
            await self.grpc([("authorization", f"Bearer {token}")], asked)

    async def leaks(self) -> dict[str, list[Hit]]:
        """Each secret that was written, answered or counted since the last time, by where."""
        self._plant_what_was_minted()
        places = {"an answer": b"\n".join(self.said), "the metrics": await self.metrics()}
        self.said.clear()
        for log in (*self.files.glob("*.log"), self.audit_log):
            written = log.read_bytes()
            places[log.name] = written[self._searched.get(log, 0) :]
            self._searched[log] = len(written)
        found = {place: self.canaries.found_in(text) for place, text in places.items()}
        return {place: hits for place, hits in found.items() if hits}

    def _plant_what_was_minted(self) -> None:
        """Adds the tokens that LiveKit was shown, and the questions that the auth service was asked."""
        for call in self.livekit.requests:
            self.plant_jwt("a token for LiveKit", call.headers["Authorization"])
        for question in self.auth_service.asked:
            self.plant_jwt("a question to the auth service", question.jwt)
        self.livekit.forget()
        self.auth_service.asked.clear()


@asynccontextmanager
async def staged(folder: Path, **environment: str) -> AsyncIterator[Stage]:
    """An installation with every way to authenticate, and a secret in every place."""
    canaries = Canaries()
    key = p256_key()
    _plant_key(canaries, key, "the signing key")
    provider_key = ec_key(f"key-{secrets.token_hex(4)}")
    tenant, operator = canaries.make("a tenant's secret"), canaries.make("an operator's secret")
    delegated = canaries.make("a delegated token")
    (folder / "signing.pem").write_bytes(pem(key))
    write_tenants(folder, {"acme": tenant, "globex": canaries.make("another tenant's secret")}, operator)
    double = LiveKitDouble(
        api_key=canaries.make("LiveKit's key", plain=True),
        api_secret=canaries.make("LiveKit's secret", plain=True),
    )
    (folder / "livekit-secret").write_text(double.api_secret)
    metrics_port = free_tcp_port()
    async with (
        double,
        AuthServiceDouble(key, {delegated: "acme"}) as auth_service,
        IdentityProviderDouble([provider_key]) as provider,
    ):
        own = double.put_room("own", owner="acme", turn_password=canaries.make("a TURN password", plain=True))
        double.put_participant(own.name, "somebody")
        foreign = json.dumps({"auth_id": "globex", "note": canaries.make("another tenant's metadata")})
        double.put_room("foreign", metadata=foreign)
        double.put_participant("foreign", canaries.make("another tenant's participant", plain=True))
        settings = {
            "AUTH_REQUIRED": "true",
            "AUTH_API_SECRETS_JSON": None,
            "TENANTROOMS_TENANTS_FILE": str(folder / "tenants.yaml"),
            "LIVEKIT_API_SECRET": None,
            "LIVEKIT_API_SECRET_FILE": str(folder / "livekit-secret"),
            "AUTH_SERVICE_URL": auth_service.url,
            "AUTH_SIGNING_KEY_PATH": str(folder / "signing.pem"),
            "AUTH_TIMEOUT_SECONDS": "2",
            "TENANTROOMS_AUTH_SERVICE_AFTER_API_SECRETS": "true",
            "TENANTROOMS_OIDC_ISSUER": ISSUER,
            "TENANTROOMS_OIDC_AUDIENCE": AUDIENCE,
            "TENANTROOMS_OIDC_JWKS_URL": provider.jwks_url,
            "TENANTROOMS_OIDC_TENANT_CLAIM": "tenant",
            "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": "2",
            "TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES": str(2**20),
            "TENANTROOMS_METRICS_LISTEN": f"127.0.0.1:{metrics_port}",
            "TENANTROOMS_AUDIT_LOG": str(folder / "audit.jsonl"),
            "TENANTROOMS_LOG_LEVEL": "debug",
            "TENANTROOMS_EDGE_LOG_LEVEL": "debug",
            **environment,
        }
        async with running(double, folder, settings) as callers:
            yield Stage(
                canaries,
                double,
                auth_service,
                provider,
                callers,
                folder,
                tenant,
                operator,
                delegated,
                f"http://127.0.0.1:{metrics_port}/metrics",
            )


def write_tenants(folder: Path, tenants: dict[str, str], operator: str) -> None:
    """The file of tenants, with one secret each."""
    entries = [{"id": name, "secrets": [secret]} for name, secret in tenants.items()]
    entries.append({"id": "on-call", "role": "operator", "secrets": [operator]})
    (folder / "tenants.yaml").write_text(yaml.safe_dump({"tenants": entries}))


def _plant_key(canaries: Canaries, key: EllipticCurvePrivateKey, name: str) -> None:
    number = key.private_numbers().private_value
    canaries.plant(name, str(number))
    canaries.plant(name, f"{number:064x}")
    for line in pem(key).decode().splitlines()[1:-1]:
        canaries.plant(name, line)
