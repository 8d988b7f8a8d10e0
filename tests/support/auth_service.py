"""A real auth service for tests: an HTTP server that verifies each question's signature and records it."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Key = RSAPrivateKey | EllipticCurvePrivateKey
Answer = Callable[[], web.StreamResponse]


def rsa_key(bits: int = 2048) -> RSAPrivateKey:
    """A new RSA key."""
    return generate_rsa_key(65537, bits)


def p256_key() -> EllipticCurvePrivateKey:
    """A new P-256 key."""
    return generate_private_key(SECP256R1())


def pem(key: Any) -> bytes:
    """A private key as it stands in a file."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[no-any-return] # Any


@dataclass
class AskedQuestion:
    """One question as it arrived, its signature verified."""

    content_type: str
    claims: dict[str, Any]
    algorithm: str
    connection: object
    jwt: str = field(default="", repr=False)
    aborted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def auth_data(self) -> dict[str, Any]:
        """What is asked."""
        data: dict[str, Any] = self.claims["auth_data"]
        return data


@dataclass
class AuthServiceDouble:
    """The server, running inside `async with`, on a free port of the loopback address.

    Attributes:
        key: whose signatures are good.
        tenants: the tenant of each token; any other token is a 401.
        answer: answers every question in place of that table, when set.
        gate: questions wait here before they are answered, when closed.
    """

    key: Key
    tenants: dict[str, str] = field(default_factory=dict)
    answer: Answer | None = None
    tls: ssl.SSLContext | None = None
    asked: list[AskedQuestion] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    _runner: web.AppRunner | None = None
    _port: int = 0

    async def __aenter__(self) -> Self:
        self.gate.set()
        application = web.Application()
        application.router.add_post("/auth", self._serve)
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.05
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self.tls).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where questions are POSTed."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}/auth"

    async def until_asked(self, count: int) -> None:
        """Waits until this many questions have arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.asked) >= count)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        algorithm = jwt.get_unverified_header(body)["alg"]
        claims = jwt.decode(body, self.key.public_key(), algorithms=["RS256", "ES256"])
        question = AskedQuestion(request.content_type, claims, algorithm, request.transport, body)
        async with self._arrived:
            self.asked.append(question)
            self._arrived.notify_all()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            question.aborted.set()
            raise
        if self.answer is not None:
            return self.answer()
        tenant = self.tenants.get(question.auth_data["token"])
        return web.json_response({"id": tenant, "plan": "pro"}) if tenant else web.Response(status=401)
