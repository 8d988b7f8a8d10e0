"""An identity provider for tests: an HTTP server with a key set, and the tokens that its keys sign.

async with IdentityProviderDouble([ec_key("one")]) as provider:
    provider.keys = [ec_key("two")]          # rotates
    provider.answer = an_answer(503)         # an outage
    …  # the code under test fetches provider.jwks_url
    assert len(provider.fetches) == 2
"""

import asyncio
import base64
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Self

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

ISSUER: Final = "https://login.example.com/realms/acme"
AUDIENCE: Final = "tenantrooms"
NOW: Final = 1_900_000_000
"""What the clocks of tests show, in Unix seconds: a token is good or bad at this time."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class SigningKey:
    """A key of the provider, with the algorithm that it signs by unless told otherwise."""

    kid: str
    algorithm: str
    private: PrivateKey = field(repr=False)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public half as a key set has it; a change to None leaves a member out."""
        public = get_default_algorithms()[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        public.pop("key_ops", None)
        members = {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig", **changes}
        return {name: value for name, value in members.items() if value is not None}

    def private_jwk(self) -> dict[str, Any]:
        """Both halves, as no key set should have them."""
        private = get_default_algorithms()[self.algorithm].to_jwk(self.private, as_dict=True)
        return {**private, "kid": self.kid, "key_ops": ["sign", "verify"]}

    def sign(self, payload: bytes, algorithm: str | None = None, **headers: Any) -> str:
        """Any bytes as a signed token; a header of None is left out."""
        named = {"typ": "JWT", "alg": algorithm or self.algorithm, "kid": self.kid, **headers}
        unsigned = compact({name: value for name, value in named.items() if value is not None}, payload)
        # Not by PyJWT's encoder, which signs no token that it would not accept.
        signature = get_default_algorithms()[algorithm or self.algorithm].sign(
            unsigned.encode(), self.private
        )
        return f"{unsigned}.{compact(signature)}"

    def token(self, headers: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A good token of the tenant acme, with these claims changed; one of None is left out."""
        return self.sign(json.dumps(good_claims(**claims)).encode(), **(headers or {}))


def good_claims(**changes: Any) -> dict[str, Any]:
    """What a good token of the tenant acme says, with these changes; one of None is left out."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "iat": NOW - 60,
        "exp": NOW + 240,
        "tenant": "acme",
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def compact(*parts: bytes | Mapping[str, Any]) -> str:
    """Any parts in the form of a token: base64url without padding, joined with dots."""
    as_bytes = (part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in as_bytes)


@cache
def rsa_key(kid: str, bits: int = 2048) -> SigningKey:
    """An RSA key, the same each time for the same id and size."""
    return SigningKey(kid, "RS256", rsa.generate_private_key(65537, bits))


@cache
def ec_key(kid: str, algorithm: str = "ES256") -> SigningKey:
    """A key on the curve of this algorithm, the same each time for the same id."""
    curves: dict[str, ec.EllipticCurve] = {
        "ES256": ec.SECP256R1(),
        "ES384": ec.SECP384R1(),
        "ES512": ec.SECP521R1(),
    }
    return SigningKey(kid, algorithm, ec.generate_private_key(curves[algorithm]))


@cache
def ed25519_key(kid: str) -> SigningKey:
    """An Ed25519 key, the same each time for the same id."""
    return SigningKey(kid, "EdDSA", ed25519.Ed25519PrivateKey.generate())


def key_set(*keys: SigningKey | dict[str, Any]) -> bytes:
    """The document that publishes these keys."""
    return json.dumps({"keys": [key.jwk() if isinstance(key, SigningKey) else key for key in keys]}).encode()


def an_answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """This answer, whatever is asked."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(
            status=status,
            body=body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    return answer


def endless(chunk: bytes = b" " * 65_536, most: int = 2**30) -> Answer:
    """A body without an end. It does end, at `most` bytes, so that no test can fill a machine."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(most // len(chunk)):
            await response.write(chunk)
        return response

    return answer


def broken_off(body: bytes) -> Answer:
    """The first half of a body whose whole length was announced, and then the end of the connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    return answer


class IdentityProviderDouble:
    """The provider, running inside `async with`, on a free port of the loopback address.

    Attributes:
        keys: what it publishes, from the next fetch on.
        answer: answers the fetches in place of the key set, when set.
        gate: fetches wait here, after they are recorded and before they are answered, when closed.
        fetches: the headers of every fetch so far.
        elsewhere: how often anything but the key set was asked for.
    """

    def __init__(self, keys: list[SigningKey], tls: ssl.SSLContext | None = None) -> None:
        self.keys = keys
        self.answer: Answer | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.fetches: list[Mapping[str, str]] = []
        self.elsewhere = 0
        self._arrived = asyncio.Condition()
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def jwks_url(self) -> str:
        """Where the key set is; known once it has been started."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._port}/keys"

    async def start(self) -> None:
        """Listens; after `stop` on the same port as before."""
        application = web.Application()
        application.router.add_get("/keys", self._serve)
        application.router.add_route("*", "/{path:.*}", self._serve_elsewhere)
        self._runner = web.AppRunner(
            application, handler_cancellation=True, access_log=None, shutdown_timeout=0.05
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Drops every connection and refuses new ones."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def until_fetched(self, count: int) -> None:
        """Waits until so many fetches have arrived, 10 s at most."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.fetches) >= count)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.fetches.append(request.headers.copy())
        published = key_set(*self.keys)  # as it is when the fetch arrives
        async with self._arrived:
            self._arrived.notify_all()
        await self.gate.wait()
        if self.answer is not None:
            return await self.answer(request)
        return web.Response(body=published, content_type="application/json")

    async def _serve_elsewhere(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response(body=key_set(*self.keys), content_type="application/json")
