"""Keys that are fetched: when, how often, and which ones are in use."""

import asyncio

import pytest

from service.auth.identity_provider import IdentityProvider
from service.auth.key_set import (
    REFRESH_SECONDS,
    RETRY_SECONDS,
    SECONDS_BETWEEN_DEMANDS,
    FetchedKeySet,
    fetch,
    open_key_set,
)
from service.auth.principal import Principal
from service.errors import CredentialRejected
from service.upstream_http import Trust, trusting
from tests.service.auth.key_sets import MAX_STALE, NEW, OLD, Clock, Pauses, unknown
from tests.service.auth.oidc import OF_ACME, RULES
from tests.support.identity_provider import (
    IdentityProviderDouble,
    SigningKey,
    an_answer,
    broken_off,
    ed25519_key,
)


async def test_the_keys_are_fetched_once_for_all_who_come_and_kept(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    double.gate.clear()
    callers = [asyncio.create_task(verifier.verify(OLD.token(sub=str(number)))) for number in range(20)]
    await double.until_fetched(1)
    double.gate.set()
    assert await asyncio.gather(*callers) == [OF_ACME] * 20
    assert await verifier.verify(OLD.token()) == OF_ACME
    assert len(double.fetches) == 1


@pytest.mark.parametrize("new", [NEW, ed25519_key("newer")], ids=["RSA", "Ed25519"])
async def test_a_rotation_in_the_middle_of_a_stream_of_calls_fails_none_of_them(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock, new: SigningKey
) -> None:
    signing = OLD

    async def stream(caller: int) -> list[Principal | None]:
        answers = []
        for call in range(30):
            if caller == 0 and call == 10:
                rotate()
            answers.append(await verifier.verify(signing.token(sub=f"{caller}-{call}")))
            await asyncio.sleep(0)
        return answers

    def rotate() -> None:
        nonlocal signing
        double.keys = [OLD, new]  # as providers do: published first, used then
        signing = new
        clock.now += SECONDS_BETWEEN_DEMANDS

    answers = await asyncio.gather(*map(stream, range(8)))
    assert answers == [[OF_ACME] * 30] * 8
    assert len(double.fetches) == 2


async def test_a_flood_of_made_up_keys_costs_one_fetch_in_a_time(
    verifier: IdentityProvider, double: IdentityProviderDouble, clock: Clock
) -> None:
    await verifier.verify(OLD.token())

    async def flood() -> None:
        refusals = await asyncio.gather(
            *(verifier.verify(unknown(number)) for number in range(100)), return_exceptions=True
        )
        assert {type(refusal) for refusal in refusals} == {CredentialRejected}
        for number in range(100):
            with pytest.raises(CredentialRejected):
                await verifier.verify(unknown(number))

    await flood()
    assert len(double.fetches) == 1  # the one that the first token was owed counts
    for fetches in (2, 3):
        clock.now += SECONDS_BETWEEN_DEMANDS
        await flood()
        assert len(double.fetches) == fetches
    assert await verifier.verify(OLD.token()) == OF_ACME


async def test_neither_foreign_tokens_nor_disallowed_algorithms_make_anybody_fetch(
    verifier: IdentityProvider, double: IdentityProviderDouble
) -> None:
    assert await verifier.verify(OLD.token(iss="https://other.example.com")) is None
    with pytest.raises(CredentialRejected):
        await verifier.verify(NEW.sign(b'{"iss": "%s"}' % RULES.issuer.encode(), "PS256"))
    assert double.fetches == []


@pytest.mark.usefixtures("keeping_fresh")
async def test_keys_are_fetched_at_start_and_again_when_old_and_withdrawn_ones_end(
    verifier: IdentityProvider, double: IdentityProviderDouble, pauses: Pauses
) -> None:
    assert await pauses.begun.get() == REFRESH_SECONDS
    assert len(double.fetches) == 1  # nobody has asked for anything yet
    double.keys = [NEW]
    assert await verifier.verify(OLD.token()) == OF_ACME
    pauses.end()
    assert await pauses.begun.get() == REFRESH_SECONDS
    with pytest.raises(CredentialRejected):
        await verifier.verify(OLD.token())
    assert await verifier.verify(NEW.token()) == OF_ACME


@pytest.mark.usefixtures("keeping_fresh")
async def test_a_new_key_is_fetched_on_sight_though_the_old_ones_are_fresh(
    verifier: IdentityProvider, double: IdentityProviderDouble, pauses: Pauses
) -> None:
    await pauses.begun.get()
    double.keys = [NEW]
    assert await verifier.verify(NEW.token()) == OF_ACME
    assert len(double.fetches) == 2


@pytest.mark.usefixtures("keeping_fresh")
async def test_a_failed_refresh_is_tried_again_sooner(
    verifier: IdentityProvider, double: IdentityProviderDouble, pauses: Pauses
) -> None:
    await pauses.begun.get()
    await double.stop()
    for _ in range(2):
        pauses.end()
        assert await pauses.begun.get() == RETRY_SECONDS
        assert await verifier.verify(OLD.token()) == OF_ACME
    await double.start()
    pauses.end()
    assert await pauses.begun.get() == REFRESH_SECONDS


# --- opening and closing ----------------------------------------------------------------------------------


async def test_opening_does_not_wait_for_the_provider_and_closing_ends_the_fetch() -> None:
    async with IdentityProviderDouble([OLD]) as double:
        double.gate.clear()
        before = asyncio.all_tasks()
        async with open_key_set(double.jwks_url, Trust(trusting(None)), RULES.algorithms, MAX_STALE):
            await double.until_fetched(1)
        assert not [task for task in asyncio.all_tasks() - before if "_fetch_keys" in repr(task)]
        assert not [task for task in asyncio.all_tasks() - before if "keep_fresh" in repr(task)]


async def test_each_fetch_is_told_by_whether_it_gave_keys(double: IdentityProviderDouble) -> None:
    told: list[bool] = []
    keys = FetchedKeySet(lambda: fetch(double.jwks_url), RULES.algorithms, MAX_STALE, on_fetch=told.append)
    answers = [an_answer(500), an_answer(200, b"no keys"), broken_off(b"{"), None]
    for answer in answers:
        double.answer = answer
        await keys._refresh()
    assert told == [False, False, False, True]
