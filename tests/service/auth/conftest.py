"""A provider that publishes keys over HTTP, and a verifier that fetches them from it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.auth.identity_provider import IdentityProvider
from service.auth.key_set import FetchedKeySet, fetch
from tests.service.auth.key_sets import MAX_STALE, OLD, Clock, Pauses
from tests.service.auth.oidc import RULES, verifier_with
from tests.support.identity_provider import IdentityProviderDouble


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def double() -> AsyncIterator[IdentityProviderDouble]:
    async with IdentityProviderDouble([OLD]) as running:
        yield running


@pytest.fixture
async def keys(double: IdentityProviderDouble, clock: Clock, pauses: Pauses) -> AsyncIterator[FetchedKeySet]:
    """Keys that nobody keeps fresh unless the test does."""
    fetched = FetchedKeySet(lambda: fetch(double.jwks_url), RULES.algorithms, MAX_STALE, clock, pauses)
    yield fetched
    await fetched.close()


@pytest.fixture
def verifier(keys: FetchedKeySet) -> IdentityProvider:
    return verifier_with(keys)


@pytest.fixture
async def keeping_fresh(keys: FetchedKeySet) -> AsyncIterator[None]:
    task = asyncio.create_task(keys.keep_fresh())
    yield
    task.cancel()
    await asyncio.wait([task])
