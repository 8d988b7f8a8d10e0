"""Floods at the edge: 429 for who floods, before anything is asked of the service, and for nobody else."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Self

import grpc

from edge.admission import Limit
from edge.app import create_app
from edge.asgi import Edge
from edge.settings import EdgeSettings
from tenantrooms_client import TenantRoomsError
from tests.edge.asgi_calls import Exchange, Reply, ask, run, started
from tests.edge.fake_client import FakeClient, failure

LIST = b"/livekit/rooms"
PREFIX = "TENANTROOMS_EDGE_"


class Flooded:
    """An edge with these settings, whose service answers when it is told to."""

    def __init__(self, **settings: str) -> None:
        self.client = FakeClient()
        self.refused: Counter[Limit] = Counter()
        environment = {PREFIX + name: value for name, value in settings.items()}
        self._app = create_app(
            EdgeSettings.from_env(environment),
            lambda: self.client,
            refused=lambda limit: self.refused.update([limit]),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(started(self._app))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    @property
    def app(self) -> Edge:
        return self._app

    async def hold(
        self, count: int, token: str | None = None, address: str = "198.51.100.1"
    ) -> list[Exchange]:
        """So many requests that get no answer yet."""
        self.client.hang = True
        before, exchanges = len(self.client.calls), []
        for _ in range(count):
            exchange = Exchange(LIST, headers=_bearer(token))
            exchange.scope["client"] = (address, 1)
            exchanges.append(exchange)
            self._tasks.append(asyncio.create_task(run(self._app, exchange)))
        async with asyncio.timeout(10):
            while len(self.client.calls) < before + count:  # noqa: ASYNC110 (the fake tells of one call alone)
                await asyncio.sleep(0)
        self.client.hang = False
        return exchanges

    async def ask(
        self, token: str | None = None, address: str = "198.51.100.1", target: bytes = LIST, via: str = ""
    ) -> Reply:
        headers = _bearer(token)
        exchange = Exchange(
            target, headers=[*headers, (b"x-forwarded-for", via.encode())] if via else headers
        )
        exchange.scope["client"] = (address, 1)
        await run(self._app, exchange)
        return exchange.reply


def _bearer(token: str | None) -> list[tuple[bytes, bytes]]:
    return [] if token is None else [(b"authorization", f"Bearer {token}".encode())]


def assert_refused(reply: Reply, text: str) -> int:
    assert (reply.status, reply.json) == (429, {"error": text})
    assert reply.header("cache-control") == "no-store"
    return int(reply.header("retry-after") or 0)


async def test_a_credential_with_too_many_calls_is_refused_and_nobody_else_is() -> None:
    async with Flooded(MAX_CALLS_PER_CREDENTIAL="3") as edge:
        await edge.hold(3, "acme")
        for address in ("198.51.100.1", "198.51.100.2"):
            assert assert_refused(await edge.ask("acme", address), "Service overloaded") == 1
        assert (await edge.ask("globex")).status == 200
        assert (await edge.ask()).status == 200
        assert edge.refused == {Limit.CREDENTIAL_CALLS: 2}
        assert len(edge.client.calls) == 5


async def test_an_address_with_too_many_calls_is_refused_whatever_its_tokens() -> None:
    async with Flooded(MAX_CALLS_PER_ADDRESS="3") as edge:
        for token in ("a", "b", "c"):
            await edge.hold(1, token)
        assert_refused(await edge.ask("d"), "Service overloaded")
        assert_refused(await edge.ask(), "Service overloaded")
        assert (await edge.ask("a", "198.51.100.2")).status == 200
        assert edge.refused == {Limit.ADDRESS_CALLS: 2}


async def test_a_flood_leaves_places_for_others_when_no_cap_is_set() -> None:
    async with Flooded(MAX_CALLS="8") as edge:
        await edge.hold(4, "acme")
        assert_refused(await edge.ask("acme"), "Service overloaded")
        assert (await edge.ask("globex", "198.51.100.2")).status == 200


async def test_home_and_documentation_are_answered_in_any_flood() -> None:
    async with Flooded(MAX_CALLS="2") as edge:
        await edge.hold(1)
        assert_refused(await edge.ask(), "Service overloaded")
        for target in (b"/", b"/docs/openapi.json"):
            assert (await edge.ask(target=target)).status == 200


async def test_places_are_given_back_whatever_becomes_of_a_call() -> None:
    async with Flooded(MAX_CALLS_PER_CREDENTIAL="1") as edge:
        for _ in range(3):
            (held,) = await edge.hold(1, "acme")
            assert_refused(await edge.ask("acme"), "Service overloaded")
            held.hang_up()
            async with asyncio.timeout(10):
                await edge.client.cancelled.wait()
                while (await edge.ask("acme")).status != 200:  # noqa: ASYNC110 (nothing else tells)
                    await asyncio.sleep(0)
            edge.client.failure = failure(grpc.StatusCode.UNAVAILABLE)
            assert (await edge.ask("acme")).status == 503
            edge.client.failure = None
            edge.client.cancelled.clear()


async def test_an_address_without_credential_has_a_rate_and_credentials_have_none_here() -> None:
    async with Flooded(ANONYMOUS_RATE="2/minute") as edge:
        assert [(await edge.ask()).status for _ in range(3)] == [200, 200, 429]
        assert 1 <= assert_refused(await edge.ask(), "Too many requests") <= 60
        assert (await edge.ask(address="198.51.100.2")).status == 200
        assert {(await edge.ask("acme")).status for _ in range(5)} == {200}
        for target in (b"/livekit/rooms/own", b"/livekit/rooms/absent", b"/livekit/rooms/%20"):
            assert_refused(await edge.ask(target=target), "Too many requests")
        assert edge.refused == {Limit.ANONYMOUS_RATE: 5}


async def test_what_is_no_token_is_rated_like_no_credential() -> None:
    presented: list[tuple[bytes, list[tuple[bytes, bytes]]]] = [
        (LIST, [(b"authorization", b"Bearer")]),
        (LIST, [(b"authorization", b"Basic x")]),
        (LIST + b"?api_key=", []),
        (LIST, [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]),
        (LIST, [(b"authorization", b"Bearer caf\xe9")]),
    ]
    for target, headers in presented:
        async with Flooded(ANONYMOUS_RATE="2/minute") as edge:
            asked = [(await ask(edge.app, target, headers=headers)).status for _ in range(3)]
            assert asked[2] == 429, (target, headers)
            assert 429 not in asked[:2]


async def test_behind_a_trusted_proxy_clients_are_told_apart_and_cannot_invent_addresses() -> None:
    async with Flooded(ANONYMOUS_RATE="1/minute", TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.7") as edge:
        assert (await edge.ask(address="10.0.0.1", via="203.0.113.1")).status == 200
        assert (await edge.ask(address="10.0.0.1", via="203.0.113.2")).status == 200
        for number in range(3):
            invented = f"1.1.1.{number}, 203.0.113.1"
            assert_refused(await edge.ask(address="10.0.0.1", via=invented), "Too many requests")
        assert (await edge.ask(address="203.0.113.7", via="1.1.1.1")).status == 200
        assert_refused(await edge.ask(address="203.0.113.7", via="1.1.1.2"), "Too many requests")


async def test_what_the_service_says_of_the_wait_reaches_the_caller() -> None:
    async with Flooded() as edge:
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        edge.client.failure = TenantRoomsError(code, "RATE_LIMITED", "canary", retry_seconds=42)
        assert assert_refused(await edge.ask("acme"), "Too many requests") == 42
        edge.client.failure = TenantRoomsError(code, "OVERLOADED", "canary", retry_seconds=1)
        assert assert_refused(await edge.ask("acme"), "Service overloaded") == 1


def over_rate(seconds: int, *, holds_for_credential: bool = True) -> TenantRoomsError:
    error = TenantRoomsError(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", "canary", retry_seconds=seconds
    )
    error.holds_for_credential = holds_for_credential
    return error


async def test_a_credential_over_its_rate_is_refused_again_without_asking_and_nobody_else_is() -> None:
    async with Flooded() as edge:
        edge.client.failure = over_rate(42)
        first = await edge.ask("acme")
        again = await edge.ask("acme", "198.51.100.2", target=b"/livekit/rooms/any")
        assert assert_refused(first, "Too many requests") == assert_refused(again, "Too many requests") == 42
        assert len(edge.client.calls) == 1
        assert edge.refused == {Limit.TENANT_RATE: 1}
        edge.client.failure = None
        for token in ("acm", "acme2", "ACME", None):
            assert (await edge.ask(token)).status == 200
        assert (await edge.ask(target=b"/livekit/rooms?api_key=globex")).status == 200
        assert_refused(await edge.ask(target=b"/livekit/rooms?api_key=acme"), "Too many requests")


async def test_a_refusal_that_does_not_hold_for_the_credential_is_asked_for_each_time() -> None:
    async with Flooded() as edge:
        edge.client.failure = over_rate(42, holds_for_credential=False)
        for _ in range(2):
            assert_refused(await edge.ask("acme"), "Too many requests")
        edge.client.failure = None
        assert (await edge.ask("acme")).status == 200
        assert edge.refused == {}


async def test_a_token_is_not_kept_while_its_call_is_counted() -> None:
    async with Flooded() as edge:
        await edge.hold(1, "canary-token")
        counted = edge.app._admission._by_credential._held
        assert len(counted) == 1
        assert "canary-token" not in repr(counted)
        assert (await ask(edge.app, LIST)).status == 200
