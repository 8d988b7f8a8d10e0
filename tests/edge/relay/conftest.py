"""A client of the relay in front of a fake service."""

from collections.abc import AsyncIterator

import pytest

from edge.relay.client import RelayClient
from tests.edge.fake_relay import FakeRelay
from tests.edge.relay_calls import FakeUnary, opened


@pytest.fixture
async def relay() -> AsyncIterator[FakeRelay]:
    async with FakeRelay() as relay:
        yield relay


@pytest.fixture
def unary() -> FakeUnary:
    return FakeUnary()


@pytest.fixture
async def client(relay: FakeRelay, unary: FakeUnary) -> AsyncIterator[RelayClient]:
    async with opened(relay.address, unary) as client:
        yield client
