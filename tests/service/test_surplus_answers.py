"""Answers that nobody asked for, at every moment, to every kind of question: none answers another question.

Two tenants ask in turn for a room, with its participants, and for their lists.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from service.auth.principal import Tenant, TenantId
from service.consistency import Consistency
from service.directory import Directory
from service.errors import DomainError
from service.even_answers import EvenAnswers
from service.livekit import LiveKit, TwirpAnswer
from service.livekit_retry import RetryingTransport
from service.livekit_tokens import AccessTokens
from service.livekit_transport import HttpTransport, open_transport
from service.ownership import owner_of
from service.rooms import Rooms
from service.servicer import room_summary
from service.upstream_http import Trust, trusting
from tests.support.certificates import self_signed
from tests.support.surplus_livekit import OWNERS, REQUEST_TIMEOUT, SurplusLiveKit, surplus_livekit

ROUNDS = 2
ANSWERS = ROUNDS * len(OWNERS) * 2


def twice(answer: bytes) -> bytes:
    return answer


def half(answer: bytes) -> bytes:
    return answer[: len(answer) // 2]


class Upstream:
    """A transport at whose every call something happens first."""

    def __init__(self, transport: HttpTransport, livekit: SurplusLiveKit) -> None:
        self._transport = transport
        self.livekit = livekit
        self.before: Callable[[], None] = lambda: None
        self.is_read = False

    async def post(self, method: str, token: str, body: bytes) -> TwirpAnswer:
        self.before()
        if self.is_read:
            async with asyncio.timeout(10):
                while any(connection.usable for connection, _ in self._transport._idle):  # noqa: ASYNC110
                    await asyncio.sleep(0)
        return await self._transport.post(method, token, body)


def waiting(upstream: Upstream) -> None:
    upstream.before = upstream.livekit.repeat


def read(upstream: Upstream) -> None:
    upstream.before, upstream.is_read = upstream.livekit.repeat, True


def closing(upstream: Upstream) -> None:
    upstream.before = upstream.livekit.give_up_waiting


def with_the_answer(upstream: Upstream) -> None:
    upstream.livekit.after = twice


def in_part_with_the_answer(upstream: Upstream) -> None:
    upstream.livekit.after = half


def after_the_answer(upstream: Upstream) -> None:
    upstream.livekit.then = twice


def after_the_next_question(upstream: Upstream) -> None:
    upstream.livekit.first = twice


def a_408_after_the_next_question(upstream: Upstream) -> None:
    upstream.livekit.first = lambda last: last and REQUEST_TIMEOUT


MOMENTS: dict[str, Callable[[Upstream], None]] = {
    "with the answer": with_the_answer,
    "in part with the answer": in_part_with_the_answer,
    "right after the answer": after_the_answer,
    "while nobody asks": read,
    "before the next question, and not read when it is asked": waiting,
    "as the connection closes, and not read when the next is asked": closing,
    "after the next question": after_the_next_question,
    "as the connection closes, after the next question": a_408_after_the_next_question,
}


class Got(NamedTuple):
    right: int
    failed: int
    foreign: int


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.livekit_retry.PAUSE_SECONDS", (0, 0))


@pytest.fixture(scope="module", params=["plain", "TLS"])
def tls(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ssl.SSLContext | None, Trust]:
    if request.param == "plain":
        return None, Trust(trusting(None))
    certificate = self_signed(tmp_path_factory.mktemp("tls"))
    return certificate.server_context(), Trust(certificate.trusting_context())


@asynccontextmanager
async def opened(
    marks: bool, tls: tuple[ssl.SSLContext | None, Trust]
) -> AsyncIterator[tuple[Upstream, Rooms]]:
    async with (
        surplus_livekit(marks, tls[0]) as livekit,
        open_transport(livekit.url, 10, 10**6, tls[1]) as transport,
        EvenAnswers() as even_answers,
    ):
        upstream = Upstream(transport, livekit)
        source = LiveKit(RetryingTransport(upstream, 10), AccessTokens("key", "s" * 32))
        directory = Directory(source, owner_of, room_summary, 60)
        yield upstream, Rooms(directory, Consistency.FULL, even_answers)


async def asked_in_turn(rooms: Rooms) -> Got:
    right = failed = foreign = 0
    for _ in range(ROUNDS):
        for name, owner in OWNERS.items():
            tenant = Tenant(TenantId(owner))
            try:
                details = await rooms.get(tenant, None, name)
            except DomainError:
                failed += 1
            else:
                is_right = [one.identity for one in details.participants] == [f"in-{name}"]
                right, foreign = right + is_right, foreign + (not is_right)
            try:
                page = await rooms.list(tenant, None, 0, "", None)
            except DomainError:
                failed += 1
            else:
                listed = [one.name for one in page.rooms]
                right += listed == [name]
                failed += not listed
                foreign += bool(listed) and listed != [name]
    return Got(right, failed, foreign)


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_no_answer_is_anothers_and_none_fails(
    moment: Callable[[Upstream], None], tls: tuple[ssl.SSLContext | None, Trust]
) -> None:
    async with opened(marks=True, tls=tls) as (upstream, rooms):
        moment(upstream)
        assert await asked_in_turn(rooms) == Got(right=ANSWERS, failed=0, foreign=0)


# What comes after a question for rooms is taken for its answer then: it lacks the room, and shows no other.
UNDETECTABLE = {"after the next question"}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_behind_a_proxy_that_takes_the_marks_away_no_answer_is_anothers(moment: str) -> None:
    async with opened(marks=False, tls=(None, Trust(trusting(None)))) as (upstream, rooms):
        MOMENTS[moment](upstream)
        got = await asked_in_turn(rooms)
        assert got.foreign == 0
        assert moment in UNDETECTABLE or got == Got(right=ANSWERS, failed=0, foreign=0)


async def test_without_surplus_one_connection_serves_all(tls: tuple[ssl.SSLContext | None, Trust]) -> None:
    async with opened(marks=True, tls=tls) as (upstream, rooms):
        assert await asked_in_turn(rooms) == Got(right=ANSWERS, failed=0, foreign=0)
        assert upstream.livekit.connections == 1
        assert upstream.livekit.requests == ROUNDS * len(OWNERS) * 4


async def test_what_waits_on_a_connection_costs_no_second_try(
    tls: tuple[ssl.SSLContext | None, Trust],
) -> None:
    async with opened(marks=True, tls=tls) as (upstream, rooms):
        waiting(upstream)
        await asked_in_turn(rooms)
        assert upstream.livekit.requests == ROUNDS * len(OWNERS) * 4
