"""Tokens that nobody knows cannot keep those that the auth service has accepted from being asked about."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from service.auth.auth_service import AuthService, open_questions
from service.auth.principal import Tenant, TenantId
from service.auth.question import Question
from service.auth.question_turns import (
    MOST_KNOWN_QUESTIONS,
    MOST_NEW_CALLS,
    MOST_NEW_QUESTIONS,
    KnownTokens,
    QuestionTurns,
)
from service.auth.signing import Signer
from service.errors import CredentialRejected, Overloaded
from service.places import Limit
from tests.support.auth_service import AuthServiceDouble, p256_key

ACME, GLOBEX = Tenant(TenantId("acme")), Tenant(TenantId("globex"))
KEY = p256_key()


def question(token: str, client: str = "198.51.100.1", path: str = "/livekit/rooms") -> Question:
    return Question(token, "GET", path, (), client)


class Asking:
    """An auth service that is asked, and what was refused unasked."""

    def __init__(
        self, double: AuthServiceDouble, within: Callable[[float], AuthService], refused: list[Limit]
    ) -> None:
        self.double = double
        self.refused = refused
        self._within = within
        self._calls: list[asyncio.Task[object]] = []
        self.hurry(30)

    def hurry(self, seconds: float) -> None:
        """From now on each call has so many seconds."""
        self.verify = self._within(seconds).verify

    @property
    def tokens(self) -> list[str]:
        """Those that were asked about, in order."""
        return [asked.auth_data["token"] for asked in self.double.asked]

    def flood(self, count: int, client: str = "198.51.100.1") -> None:
        """Begins so many calls with tokens that were never good."""
        for _ in range(count):
            invented = question(f"invented-{len(self._calls)}", client)
            self._calls.append(asyncio.create_task(self.verify(invented)))

    async def end(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)


@asynccontextmanager
async def asking(*, max_calls: int = 1024) -> AsyncIterator[Asking]:
    refused: list[Limit] = []
    tenants = {"good": "acme", "other": "globex", "newcomer": "acme"}
    async with AuthServiceDouble(KEY, tenants) as double, open_questions(None) as session:
        turns = QuestionTurns(max_calls, refused.append)

        def within(seconds: float) -> AuthService:
            return AuthService(
                session, double.url, Signer(KEY), timeout=seconds, allow_no_id=False, cache=None, turns=turns
            )

        asks = Asking(double, within, refused)
        try:
            yield asks
        finally:
            await asks.end()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (many small states of others, none of which tells of itself)
            await asyncio.sleep(0.005)


async def test_a_token_that_was_accepted_lately_is_asked_about_beside_any_number_of_invented_ones() -> None:
    async with asking() as asks:
        assert await asks.verify(question("good")) == ACME
        asks.double.gate.clear()
        for host in range(100):
            asks.flood(20, f"198.51.100.{host}")
        await until(lambda: len(asks.tokens) == 1 + MOST_NEW_QUESTIONS)
        victim = asyncio.create_task(asks.verify(question("good", "198.51.100.0")))
        await until(lambda: "good" in asks.tokens[1:])
        asks.double.gate.set()
        assert await victim == ACME


async def test_a_new_token_has_its_turn_before_most_of_another_clients_flood() -> None:
    async with asking() as asks:
        asks.double.gate.clear()
        asks.flood(MOST_NEW_CALLS)
        await until(lambda: len(asks.tokens) == MOST_NEW_QUESTIONS // 2)
        newcomer = asyncio.create_task(asks.verify(question("newcomer", "203.0.113.9")))
        await until(lambda: "newcomer" in asks.tokens)
        asks.double.gate.set()
        assert await newcomer == ACME


async def test_invented_tokens_that_are_too_many_are_refused_unasked_and_leave_others_their_place() -> None:
    async with asking() as asks:
        asks.double.gate.clear()
        asks.flood(MOST_NEW_CALLS * 2)
        await until(lambda: len(asks.refused) == MOST_NEW_CALLS * 3 // 2)
        assert set(asks.refused) == {Limit.NEW_TOKENS}
        with pytest.raises(Overloaded):
            await asks.verify(question("newcomer"))
        newcomer = asyncio.create_task(asks.verify(question("newcomer", "203.0.113.9")))
        await until(lambda: "newcomer" in asks.tokens)
        newcomer.cancel()


async def test_a_token_that_has_no_turn_in_its_time_is_refused_and_asked_about_when_there_is_one() -> None:
    async with asking() as asks:
        asks.double.gate.clear()
        asks.flood(MOST_NEW_QUESTIONS)
        asks.flood(MOST_NEW_QUESTIONS, "198.51.100.2")
        await until(lambda: len(asks.tokens) >= MOST_NEW_QUESTIONS * 3 // 4)
        asks.hurry(0.2)
        with pytest.raises(Overloaded):
            await asks.verify(question("newcomer"))
        assert asks.refused == [Limit.NEW_TOKENS]
        asks.double.gate.set()
        asks.hurry(30)
        assert await asks.verify(question("newcomer")) == ACME


async def test_one_tenant_that_floods_the_auth_service_leaves_others_their_turn() -> None:
    async with asking() as asks:
        assert await asks.verify(question("good")) == ACME
        assert await asks.verify(question("other")) == GLOBEX
        asks.double.gate.clear()
        flood = [
            asyncio.create_task(asks.verify(question("good", path=f"/livekit/rooms/{number}")))
            for number in range(MOST_KNOWN_QUESTIONS * 2)
        ]
        await until(lambda: asks.tokens.count("good") > 1)
        other = asyncio.create_task(asks.verify(question("other")))
        await until(lambda: asks.tokens.count("other") == 2)
        assert asks.tokens.count("good") < MOST_KNOWN_QUESTIONS
        asks.double.gate.set()
        assert await other == GLOBEX
        assert set(await asyncio.gather(*flood)) == {ACME}


async def test_many_calls_with_one_question_need_one_place() -> None:
    async with asking() as asks:
        assert await asks.verify(question("good")) == ACME
        asks.double.gate.clear()
        calls = [asyncio.create_task(asks.verify(question("good"))) for _ in range(1000)]
        await asks.double.until_asked(2)
        asks.double.gate.set()
        assert set(await asyncio.gather(*calls)) == {ACME}
        assert asks.refused == []
        assert len(asks.tokens) <= 3


async def test_a_token_that_is_rejected_is_new_again() -> None:
    async with asking() as asks:
        assert await asks.verify(question("good")) == ACME
        del asks.double.tenants["good"]
        with pytest.raises(CredentialRejected):
            await asks.verify(question("good"))
        asks.double.gate.clear()
        asks.flood(MOST_NEW_CALLS)
        await until(lambda: bool(asks.refused))
        with pytest.raises(Overloaded):
            await asks.verify(question("good"))


async def test_the_new_calls_take_a_part_of_the_processs_calls_however_few_these_are() -> None:
    async with asking(max_calls=16) as asks:
        asks.double.gate.clear()
        for host in range(16):
            asks.flood(1, f"198.51.100.{host}")
        await until(lambda: len(asks.refused) == 12)
        await until(lambda: len(asks.tokens) == 4)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_known_for_a_time_after_it_was_last_accepted() -> None:
    clock = Clock()
    known = KnownTokens(100, clock=clock)
    assert known.owner("token") is None
    known.accepted("token", ACME)
    for clock.now in (60.0, 120.0, 219.0):
        assert known.owner("token") == ACME
        known.accepted("token", ACME)
    clock.now = 320.0
    assert known.owner("token") is None
    known.accepted("token", ACME)
    known.accepted("token", GLOBEX)
    assert known.owner("token") == GLOBEX


def test_known_tokens_are_so_many_at_most_and_one_tenants_never_push_out_anothers() -> None:
    known = KnownTokens(100, most=10)
    known.accepted("other", GLOBEX)
    for number in range(1000):
        known.accepted(f"token-{number}", ACME)
    assert known.owner("other") == GLOBEX
    assert sum(known.owner(f"token-{number}") is not None for number in range(1000)) == 9
    assert known.owner("token-999") == ACME


def test_no_token_is_kept() -> None:
    known = KnownTokens()
    known.accepted("canary-token", ACME)
    assert "canary-token" not in repr(vars(known)) + repr(vars(known._grants))
