"""Which web origins may read answers."""

from collections.abc import AsyncIterator

import pytest

from edge.app import create_app
from edge.asgi import Edge
from edge.settings import EdgeSettings
from tests.edge.asgi_calls import Reply, ask, started
from tests.edge.fake_client import FakeClient

APP, OTHER = b"https://app.example.com", b"https://other.example.com"
TARGETS = [b"/", b"/livekit/rooms", b"/livekit/rooms/%FF", b"/nowhere", b"/" + b"x" * 9000]


def with_origins(origins: str) -> Edge:
    return create_app(EdgeSettings.from_env({"TENANTROOMS_EDGE_CORS_ORIGINS": origins}), FakeClient)


@pytest.fixture
async def listed() -> AsyncIterator[Edge]:
    async with started(with_origins("https://app.example.com, http://localhost:5173")) as app:
        yield app


async def from_origin(app: Edge, target: bytes, origin: bytes, method: str = "GET") -> Reply:
    return await ask(app, target, method=method, headers=[(b"origin", origin)])


def cors_headers(reply: Reply) -> dict[str, str]:
    return {
        name: value for name, value in reply.headers if name.startswith("access-control") or name == "vary"
    }


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_unless_set_nothing_is_allowed(app: Edge, target: bytes, method: str) -> None:
    assert cors_headers(await from_origin(app, target, APP, method)) == {}


@pytest.mark.parametrize("target", TARGETS)
async def test_a_listed_origin_may_read_every_answer_refusals_included(listed: Edge, target: bytes) -> None:
    assert cors_headers(await from_origin(listed, target, APP)) == {
        "vary": "Origin",
        "access-control-allow-origin": "https://app.example.com",
        "access-control-expose-headers": "X-Request-Id, Retry-After, WWW-Authenticate",
    }


@pytest.mark.parametrize(
    "origin", [OTHER, b"null", b"https://app.example.com.evil.example", b"http://app.example.com", b""]
)
async def test_no_other_origin_may(listed: Edge, origin: bytes) -> None:
    assert cors_headers(await from_origin(listed, b"/livekit/rooms", origin)) == {"vary": "Origin"}


async def test_an_answer_to_nobody_in_particular_still_says_that_origins_differ(listed: Edge) -> None:
    assert cors_headers(await ask(listed, b"/livekit/rooms")) == {"vary": "Origin"}


async def test_a_preflight_allows_reading_with_a_token(listed: Edge) -> None:
    reply = await from_origin(listed, b"/livekit/rooms/a", b"http://localhost:5173", "OPTIONS")
    assert reply.status == 204
    assert cors_headers(reply) == {
        "vary": "Origin",
        "access-control-allow-origin": "http://localhost:5173",
        "access-control-expose-headers": "X-Request-Id, Retry-After, WWW-Authenticate",
        "access-control-allow-methods": "GET, HEAD, OPTIONS",
        "access-control-allow-headers": "Authorization, X-Request-Id",
        "access-control-max-age": "600",
    }


async def test_a_star_allows_any_origin() -> None:
    async with started(with_origins("*")) as app:
        assert cors_headers(await from_origin(app, b"/livekit/rooms", OTHER)) == {
            "access-control-allow-origin": "*",
            "access-control-expose-headers": "X-Request-Id, Retry-After, WWW-Authenticate",
        }
