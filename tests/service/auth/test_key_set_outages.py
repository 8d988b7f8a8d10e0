"""Keys whose provider is down, slow, or answers with garbage: they stay in use, within limits."""

import asyncio
import math
from collections.abc import Callable

import pytest
import structlog

from service.auth.identity_provider import IdentityProvider
from service.auth.jwks import MAX_BYTES
from service.auth.key_set import REFRESH_SECONDS, SECONDS_BETWEEN_DEMANDS, FetchedKeySet, fetch
from service.errors import AuthServiceUnavailable, CredentialRejected
from tests.service.auth.key_sets import MAX_STALE, NEW, OLD, Clock, unknown
from tests.service.auth.oidc import OF_ACME, RULES, verifier_with
from tests.support.identity_provider import (
    Answer,
    IdentityProviderDouble,
    an_answer,
    broken_off,
    endless,
    key_set,
)

BAD_ANSWERS: dict[str, Callable[[IdentityProviderDouble], Answer]] = {
    "404": lambda _: an_answer(404, key_set(NEW)),
    "500": lambda _: an_answer(500, key_set(NEW)),
    "204": lambda _: an_answer(204),
    "203 with keys": lambda _: an_answer(203, key_set(NEW)),
    "a redirect": lambda double: an_answer(302, Location=double.jwks_url + "/elsewhere"),
    "a permanent redirect": lambda double: an_answer(308, Location=double.jwks_url + "/elsewhere"),
    "an empty body": lambda _: an_answer(200),
    "HTML": lambda _: an_answer(200, b"<!doctype html><title>Sign in</title>"),
    "no object": lambda _: an_answer(200, b"[1, 2]"),
    "no keys": lambda _: an_answer(200, b"{}"),
    "no key": lambda _: an_answer(200, b'{"keys": []}'),
    "keys that are no list": lambda _: an_answer(200, b'{"keys": {"kid": "new"}}'),
    "keys for encryption alone": lambda _: an_answer(200, key_set(NEW.jwk(use="enc"))),
    "too many keys": lambda _: an_answer(200, key_set(*[NEW.jwk()] * 101)),
    "far too deep": lambda _: an_answer(200, b"[" * 100_000),
    "not UTF-8": lambda _: an_answer(200, b'{"keys": ["\xff"]}'),
    "an encoded body": lambda _: an_answer(200, key_set(NEW), Content_Encoding="gzip"),
    "a byte too many": lambda _: an_answer(200, key_set(NEW).ljust(MAX_BYTES + 1)),
    "a body without end": lambda _: endless(),
    "a body that breaks off": lambda _: broken_off(key_set(NEW)),
}


@pytest.mark.parametrize("bad", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_a_bad_answer_gives_no_keys_and_takes_none_away(
    verifier: IdentityProvider,
    double: IdentityProviderDouble,
    clock: Clock,
    bad: Callable[[IdentityProviderDouble], Answer],
) -> None:
    double.answer = bad(double)
    with pytest.raises(AuthServiceUnavailable):
        await verifier.verify(NEW.token())

    double.answer = None
    clock.now += SECONDS_BETWEEN_DEMANDS
    assert await verifier.verify(OLD.token()) == OF_ACME

    double.answer = bad(double)
    clock.now += SECONDS_BETWEEN_DEMANDS
    with pytest.raises(CredentialRejected):
        await verifier.verify(NEW.token())
    assert await verifier.verify(OLD.token()) == OF_ACME
    assert (len(double.fetches), double.elsewhere) == (3, 0)


async def test_a_provider_that_was_never_up_is_unavailable_and_asked_again_at_a_bounded_rate(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock
) -> None:
    await double.stop()
    with pytest.raises(AuthServiceUnavailable):
        await verifier.verify(OLD.token())

    await double.start()
    with pytest.raises(AuthServiceUnavailable):
        await verifier.verify(OLD.token())
    assert double.fetches == []

    clock.now += SECONDS_BETWEEN_DEMANDS
    assert await verifier.verify(OLD.token()) == OF_ACME


async def test_a_provider_that_is_down_takes_nobodys_access_away(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock
) -> None:
    await verifier.verify(OLD.token())
    await double.stop()
    clock.now += 10 * REFRESH_SECONDS
    with pytest.raises(CredentialRejected):
        await verifier.verify(unknown(1))
    assert await verifier.verify(OLD.token()) == OF_ACME


async def test_while_the_provider_is_slow_known_keys_verify_without_waiting(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock
) -> None:
    await verifier.verify(OLD.token())
    double.gate.clear()
    clock.now += SECONDS_BETWEEN_DEMANDS
    waiting = asyncio.create_task(verifier.verify(unknown(1)))
    await double.until_fetched(2)
    assert await verifier.verify(OLD.token()) == OF_ACME
    assert not waiting.done()
    double.gate.set()
    with pytest.raises(CredentialRejected):
        await waiting


async def test_callers_that_leave_do_not_end_the_fetch(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    double.gate.clear()
    impatient = asyncio.create_task(verifier.verify(OLD.token()))
    await double.until_fetched(1)
    impatient.cancel()
    await asyncio.wait([impatient])
    patient = asyncio.create_task(verifier.verify(OLD.token()))
    double.gate.set()
    assert await patient == OF_ACME
    assert len(double.fetches) == 1


async def test_a_failed_fetch_is_logged_without_anybodys_token(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    double.answer = an_answer(503)
    token = OLD.token()
    with structlog.testing.capture_logs() as logs, pytest.raises(AuthServiceUnavailable):
        await verifier.verify(token)
    assert [(entry["log_level"], entry["problem"], entry["old_keys_stay"]) for entry in logs] == [
        ("warning", "the answer is 503", False)
    ]
    assert token not in str(logs)


# --- for too long -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outage", ["down", "garbage", "no key"])
async def test_keys_that_are_too_old_are_not_used_until_they_are_fetched_again(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock, outage: str
) -> None:
    await verifier.verify(OLD.token())
    if outage == "down":
        await double.stop()
    else:
        double.answer = an_answer(200, b"garbage" if outage == "garbage" else key_set())
    clock.now += MAX_STALE
    assert await verifier.verify(OLD.token()) == OF_ACME
    clock.now += 1
    with structlog.testing.capture_logs() as logs, pytest.raises(AuthServiceUnavailable):
        await verifier.verify(OLD.token())
    assert [entry["old_keys_stay"] for entry in logs] == [False]

    double.answer = None
    await double.stop()
    await double.start()
    clock.now += SECONDS_BETWEEN_DEMANDS
    assert await verifier.verify(OLD.token()) == OF_ACME


async def test_keys_grow_old_from_when_they_were_asked_for(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock
) -> None:
    double.gate.clear()
    waiting = asyncio.create_task(verifier.verify(OLD.token()))
    await double.until_fetched(1)
    clock.now += 4
    double.gate.set()
    await waiting
    await double.stop()
    clock.now += MAX_STALE - 3
    with pytest.raises(AuthServiceUnavailable):
        await verifier.verify(OLD.token())


async def test_without_a_limit_keys_never_grow_too_old(double: IdentityProviderDouble, clock: Clock) -> None:
    keys = FetchedKeySet(lambda: fetch(double.jwks_url), RULES.algorithms, math.inf, clock)
    verifier = verifier_with(keys)
    await verifier.verify(OLD.token())
    await double.stop()
    clock.now += 1e9
    assert await verifier.verify(OLD.token()) == OF_ACME
