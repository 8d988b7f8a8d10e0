"""Delegated authentication against a real HTTP server that verifies the signature."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from service.auth.auth_service import AuthService, open_questions
from service.auth.principal import Anonymous, Principal, Tenant, TenantId
from service.auth.question import Question
from service.auth.refusal_log import BY_THE_AUTH_SERVICE, RefusalLog
from service.auth.signing import Signer
from service.auth.verdict_cache import VerdictCache
from service.certificates import read_certificates
from service.errors import (
    AuthServiceFailed,
    AuthServiceTimedOut,
    AuthServiceUnavailable,
    CredentialRejected,
    DomainError,
)
from tests.support.auth_service import AuthServiceDouble, Key, p256_key, rsa_key
from tests.support.certificate_authority import DAY, Authority
from tests.support.certificates import Certificate, self_signed

QUESTION = Question("good", "GET", "/livekit/rooms", (("user-agent", "test"),))
ACME = Tenant(TenantId("acme"))
KEY = p256_key()


@pytest.fixture
async def double() -> AsyncIterator[AuthServiceDouble]:
    async with AuthServiceDouble(KEY, {"good": "acme"}) as double:
        yield double


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_questions(None) as session:
        yield session


@pytest.fixture
def auth_service(double: AuthServiceDouble, session: aiohttp.ClientSession) -> AuthService:
    return asking(double, session)


def asking(
    double: AuthServiceDouble,
    session: aiohttp.ClientSession,
    *,
    timeout: float = 5,
    allow_no_id: bool = False,
    cache: VerdictCache | None = None,
    refusals: RefusalLog | None = None,
) -> AuthService:
    return AuthService(
        session,
        double.url,
        Signer(double.key),
        timeout=timeout,
        allow_no_id=allow_no_id,
        cache=cache,
        refusals=refusals,
    )


@pytest.mark.parametrize(("key", "algorithm"), [(rsa_key(), "RS256"), (p256_key(), "ES256")])
async def test_the_question_is_what_existing_auth_services_check(
    session: aiohttp.ClientSession, key: Key, algorithm: str
) -> None:
    async with AuthServiceDouble(key, {"good": "acme"}) as double:
        assert await asking(double, session).verify(QUESTION) == ACME
    [asked] = double.asked
    assert asked.content_type == "application/jwt"
    assert asked.algorithm == algorithm
    assert asked.claims["sub"] == "sayna-auth"
    assert asked.claims["exp"] == asked.claims["iat"] + 300
    assert asked.auth_data == {
        "token": "good",
        "request_body": {},
        "request_headers": {"user-agent": "test"},
        "request_path": "/livekit/rooms",
        "request_method": "GET",
    }


def responding(status: int = 200, body: bytes = b"", **headers: str) -> Callable[[], web.Response]:
    return lambda: web.Response(status=status, body=body, headers=headers)


def with_id(value: Any) -> Callable[[], web.Response]:
    return responding(200, json.dumps({"id": value}).encode())


UNUSABLE_IDS = ["", " ", "\t", " acme", "acme ", "\u2003", "x" * 2000, "\ud800"]
ANSWERS: dict[str, tuple[Callable[[], web.StreamResponse], type[DomainError]]] = {
    "empty": (responding(), CredentialRejected),
    "truncated": (responding(200, b'{"id":"acme'), CredentialRejected),
    "no json": (responding(200, b"acme"), CredentialRejected),
    "not utf-8": (responding(200, b'{"id":"\xff"}'), CredentialRejected),
    "a list": (responding(200, b'["acme"]'), CredentialRejected),
    "text": (responding(200, b'"acme"'), CredentialRejected),
    "two ids": (responding(200, b'{"id":"globex","id":"acme"}'), CredentialRejected),
    "no id": (responding(200, b"{}"), CredentialRejected),
    "deep": (responding(200, b"[" * 60_000), CredentialRejected),
    "too long": (responding(200, b'{"id":"acme","x":"' + b"x" * 65_536 + b'"}'), CredentialRejected),
    "encoded": (responding(200, b'{"id":"acme"}', **{"Content-Encoding": "gzip"}), CredentialRejected),
    **{
        f"id {value!r}": (with_id(value), CredentialRejected)
        for value in (
            5,
            None,
            True,
            ["acme"],
            {"id": "acme"},
            "",
            " ",
            "\t",
            " acme",
            "acme ",
            "\u2003",
            "x" * 2000,
            "\ud800",
        )
    },
    **{
        f"status {status}": (responding(status, b'{"id":"acme"}'), CredentialRejected)
        for status in (400, 401, 403, 404, 407, 408, 409, 418, 429, 499)
    },
    **{
        f"status {status}": (responding(status, b'{"id":"acme"}'), AuthServiceFailed)
        for status in (201, 202, 203, 206, 300, 304, 500, 502, 503, 504)
    },
    "redirect": (responding(302, Location="/elsewhere"), AuthServiceFailed),
}


@pytest.mark.parametrize(("answer", "error"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_names_no_tenant_is_the_documented_error(
    double: AuthServiceDouble,
    auth_service: AuthService,
    answer: Callable[[], web.StreamResponse],
    error: type[DomainError],
) -> None:
    """MATRIX I4."""
    double.answer = answer
    with pytest.raises(error) as failure:
        await auth_service.verify(QUESTION)
    assert type(failure.value) is error
    assert len(double.asked) == 1, "never asked twice, never sent elsewhere"


async def test_no_id_means_all_rooms_only_where_the_operator_allows_it(
    double: AuthServiceDouble, session: aiohttp.ClientSession
) -> None:
    allowing = asking(double, session, allow_no_id=True)
    for body in (b"{}", b'{"plan":"pro"}'):
        double.answer = responding(200, body)
        assert await allowing.verify(QUESTION) == Anonymous()
    for body in (b"", b'{"id":""}', b'{"id":null}', b'{"id":" "}', b"[]", b"x"):
        double.answer = responding(200, body)
        with pytest.raises(CredentialRejected):
            await allowing.verify(QUESTION)


async def test_a_role_in_the_answer_makes_no_operator(
    double: AuthServiceDouble, auth_service: AuthService
) -> None:
    double.answer = responding(200, b'{"id":"acme","role":"operator","operator":true}')
    assert await auth_service.verify(QUESTION) == ACME


async def test_a_service_that_is_not_there_is_unavailable(
    double: AuthServiceDouble, auth_service: AuthService
) -> None:
    await double.__aexit__()
    with pytest.raises(AuthServiceUnavailable) as failure:
        await auth_service.verify(QUESTION)
    assert type(failure.value) is AuthServiceUnavailable


async def test_a_service_that_does_not_answer_in_time_is_timed_out(
    double: AuthServiceDouble, session: aiohttp.ClientSession
) -> None:
    double.gate.clear()
    with pytest.raises(AuthServiceTimedOut):
        await asking(double, session, timeout=0.05).verify(QUESTION)


async def test_a_service_is_not_asked_when_no_time_is_left(
    double: AuthServiceDouble, session: aiohttp.ClientSession
) -> None:
    with pytest.raises(AuthServiceTimedOut):
        await asking(double, session, timeout=0).verify(QUESTION)
    assert not double.asked


async def test_connections_are_reused(double: AuthServiceDouble, auth_service: AuthService) -> None:
    for _ in range(3):
        await auth_service.verify(QUESTION)
    assert len({id(asked.connection) for asked in double.asked}) == 1


async def test_concurrent_same_questions_share_a_call_that_begins_after_they_came(
    double: AuthServiceDouble, auth_service: AuthService
) -> None:
    double.gate.clear()
    first = asyncio.ensure_future(auth_service.verify(QUESTION))
    await double.until_asked(1)
    later = [asyncio.ensure_future(auth_service.verify(QUESTION)) for _ in range(10)]
    double.gate.set()
    assert await asyncio.gather(first, *later) == [ACME] * 11
    assert len(double.asked) == 2


DIFFERENT = [
    replace(QUESTION, token="other"),
    replace(QUESTION, method="HEAD"),
    replace(QUESTION, path="/livekit/rooms/a"),
    replace(QUESTION, headers=()),
    replace(QUESTION, headers=(("user-agent", "Test"),)),
    replace(QUESTION, headers=(("user-agent", "test"), ("x", "y"))),
]


@pytest.mark.parametrize("other", DIFFERENT)
@pytest.mark.parametrize("remembering", [False, True])
async def test_questions_that_differ_in_anything_share_nothing(
    double: AuthServiceDouble, session: aiohttp.ClientSession, other: Question, remembering: bool
) -> None:
    auth_service = asking(double, session, cache=VerdictCache(60) if remembering else None)
    await asyncio.gather(auth_service.verify(QUESTION), auth_service.verify(other), return_exceptions=True)
    assert len(double.asked) == 2


async def test_nothing_is_remembered_by_default(double: AuthServiceDouble, auth_service: AuthService) -> None:
    assert await auth_service.verify(QUESTION) == ACME
    double.tenants.clear()
    with pytest.raises(CredentialRejected):
        await auth_service.verify(QUESTION)


async def test_verdicts_are_remembered_for_the_time_that_is_set_and_not_longer(
    double: AuthServiceDouble, session: aiohttp.ClientSession
) -> None:
    now = 100.0
    auth_service = asking(double, session, cache=VerdictCache(10, lambda: now))
    refused = replace(QUESTION, token="bad")
    assert await auth_service.verify(QUESTION) == ACME
    with pytest.raises(CredentialRejected):
        await auth_service.verify(refused)

    double.tenants = {"bad": "acme"}
    now += 9.9
    assert await auth_service.verify(QUESTION) == ACME
    with pytest.raises(CredentialRejected):
        await auth_service.verify(refused)
    assert len(double.asked) == 2

    now += 0.2
    with pytest.raises(CredentialRejected):
        await auth_service.verify(QUESTION)
    assert await auth_service.verify(refused) == ACME


VERDICTS = {"status 401", "status 403"}


@pytest.mark.parametrize("name", ANSWERS)
async def test_only_a_verdict_is_remembered_and_never_what_may_be_a_passing_failure(
    double: AuthServiceDouble, session: aiohttp.ClientSession, name: str
) -> None:
    auth_service = asking(double, session, cache=VerdictCache(60))
    double.answer, error = ANSWERS[name]
    with pytest.raises(error):
        await auth_service.verify(QUESTION)
    double.answer = None
    if name in VERDICTS:
        with pytest.raises(CredentialRejected):
            await auth_service.verify(QUESTION)
    else:
        assert await auth_service.verify(QUESTION) == ACME


async def test_a_caller_that_leaves_ends_the_call_that_nobody_else_waits_for(
    double: AuthServiceDouble, auth_service: AuthService
) -> None:
    double.gate.clear()
    leaving = asyncio.ensure_future(auth_service.verify(QUESTION))
    await double.until_asked(1)
    leaving.cancel()
    await double.asked[0].aborted.wait()
    double.gate.set()
    principal: Principal = await auth_service.verify(QUESTION)
    assert principal == ACME


UNTRUSTED: dict[str, Callable[[Authority, Path], Certificate]] = {
    "self-signed": lambda _, folder: self_signed(folder),
    "expired": lambda authority, _: authority.issue("auth", ends=dt.datetime.now(dt.UTC) - DAY),
    "for another host": lambda authority, _: authority.issue("auth", hosts=["auth.example"]),
}


@pytest.mark.parametrize("own_ca", [True, False], ids=["own authority", "the system's"])
@pytest.mark.parametrize("made", UNTRUSTED.values(), ids=UNTRUSTED)
async def test_an_auth_service_whose_certificate_is_not_good_is_asked_nothing(
    tmp_path: Path, made: Callable[[Authority, Path], Certificate], own_ca: bool
) -> None:  # MATRIX U9
    authority = Authority(tmp_path)
    async with (
        AuthServiceDouble(KEY, {"good": "acme"}, tls=made(authority, tmp_path).server_context()) as double,
        open_questions(read_certificates(authority.pem) if own_ca else None) as session,
    ):
        with pytest.raises(AuthServiceUnavailable):
            await asking(double, session).verify(QUESTION)
        assert double.asked == []


async def test_an_own_authority_vouches_for_the_auth_service(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        AuthServiceDouble(KEY, {"good": "acme"}, tls=authority.issue("auth").server_context()) as double,
        open_questions(read_certificates(authority.pem)) as session,
    ):
        assert await asking(double, session).verify(QUESTION) == ACME


async def test_refusals_are_logged_with_the_status_and_without_the_token_once_for_many(
    double: AuthServiceDouble, session: aiohttp.ClientSession
) -> None:
    with capture_logs() as logs, closing(RefusalLog(events=BY_THE_AUTH_SERVICE)) as refusals:
        service = asking(double, session, refusals=refusals)
        for number in range(3):
            with pytest.raises(CredentialRejected):
                await service.verify(replace(QUESTION, token=f"canary-{number}"))
        astray = AuthService(
            session,
            f"{double.url}/no-such-path",
            Signer(double.key),
            timeout=5,
            allow_no_id=False,
            cache=None,
            refusals=refusals,
        )
        with pytest.raises(CredentialRejected):
            await astray.verify(QUESTION)
        assert await service.verify(QUESTION) == ACME
    assert [(line["event"], line["problem"], line.get("count")) for line in logs] == [
        ("a token was refused by the auth service", "the auth service answered 401", None),
        ("a token was refused by the auth service", "the auth service answered 404", None),
        ("more tokens were refused by the auth service", "the auth service answered 401", 2),
    ]
    assert "canary" not in str(logs)
    assert double.url not in str(logs)
