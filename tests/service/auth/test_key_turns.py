"""Tokens with keys that do not exist cannot take the places of others while the keys are fetched."""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator
from itertools import islice

import grpc
import pytest

from common.edge_metadata import CLIENT_ADDRESS_KEY
from service.auth.api_secrets import ApiSecret, ApiSecrets
from service.auth.authenticator import Authenticator
from service.auth.key_set import SECONDS_BETWEEN_DEMANDS, FetchedKeySet, fetch
from service.auth.key_turns import KeyTurns
from service.authentication import AuthenticationInterceptor
from service.client_address import ClientAddresses
from service.error_boundary import ErrorBoundary
from service.errors import CredentialRejected
from service.overload import OverloadGuard
from service.places import Limit
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.auth.key_sets import MAX_STALE, NEW, OLD, Clock, unknown
from tests.service.auth.oidc import RULES, verifier_with
from tests.service.grpc_calls import LIST_ROOMS, Context, Outcome, Scripted, bearer, call, serving
from tests.support.identity_provider import IdentityProviderDouble

MOST_CALLS = 40
MOST_WAITING = MOST_CALLS // 4
FLOODER = "198.51.100.1"
THIS_MACHINE = [ipaddress.ip_network("127.0.0.0/8")]


async def answer(_request: object, _context: Context) -> pb.ListRoomsResponse:
    return pb.ListRoomsResponse()


class Door:
    """The way through authentication, for so many calls at a time, and what was refused there."""

    def __init__(self, channel: grpc.aio.Channel, refused: list[Limit]) -> None:
        self.refused = refused
        self.flood: list[asyncio.Task[str]] = []
        self._channel = channel

    async def call(self, token: str, client: str = FLOODER) -> Outcome:
        return await call(self._channel, LIST_ROOMS, metadata=[*bearer(token), (CLIENT_ADDRESS_KEY, client)])

    def begin(self, token: str, client: str = FLOODER) -> "asyncio.Task[str]":
        async def reason() -> str:
            return (await self.call(token, client)).reason

        return asyncio.create_task(reason())

    async def flooded(self, clients: list[str], until_done: int) -> None:
        """Begins a call of each client, each with a key that does not exist, and waits until so many end."""
        self.flood += [self.begin(unknown(number), client) for number, client in enumerate(clients)]
        for done in islice(asyncio.as_completed(self.flood), until_done):
            await done


@pytest.fixture
async def door(double: IdentityProviderDouble, clock: Clock) -> AsyncIterator[Door]:
    refused: list[Limit] = []
    turns = KeyTurns(MOST_CALLS, refused.append)
    keys = FetchedKeySet(lambda: fetch(double.jwks_url), RULES.algorithms, MAX_STALE, clock, turns=turns)
    secrets = ApiSecrets([ApiSecret("globex", "secret")])
    interceptors = [
        ErrorBoundary(),
        OverloadGuard(MOST_CALLS, refused.append),
        AuthenticationInterceptor(
            Authenticator([secrets, verifier_with(keys)], required=True), ClientAddresses(THIS_MACHINE)
        ),
    ]
    async with serving(Scripted(answer), *interceptors) as channel:
        opened = Door(channel, refused)
        yield opened
        double.gate.set()
        await asyncio.gather(*opened.flood)
    await keys.close()


async def test_while_a_fetch_hangs_others_are_served_beside_any_number_of_keys_that_do_not_exist(
    door: Door, double: IdentityProviderDouble, clock: Clock
) -> None:
    assert (await door.call(OLD.token())).reason == "OK"
    clock.now += SECONDS_BETWEEN_DEMANDS
    double.gate.clear()
    await door.flooded([f"198.51.100.{host}" for host in range(3 * MOST_CALLS)], until_done=2 * MOST_CALLS)
    assert (await door.call("secret")).reason == "OK"
    assert (await door.call(OLD.token())).reason == "OK"
    double.gate.set()
    assert Counter(await asyncio.gather(*door.flood)) == {
        "OVERLOADED": 3 * MOST_CALLS - MOST_WAITING,
        "CREDENTIAL_REJECTED": MOST_WAITING,
    }
    assert set(door.refused) == {Limit.UNKNOWN_KEYS}


async def test_a_new_key_is_waited_for_beside_another_clients_flood(
    door: Door, double: IdentityProviderDouble
) -> None:
    double.keys = [OLD, NEW]
    double.gate.clear()
    await door.flooded([FLOODER] * MOST_CALLS, until_done=MOST_CALLS - MOST_WAITING // 2)
    refused = await door.call(NEW.token())
    assert (refused.reason, refused.retry_seconds) == ("OVERLOADED", 1)
    newcomer = door.begin(NEW.token(), "203.0.113.9")
    double.gate.set()
    assert await newcomer == "OK"
    assert len(double.fetches) == 1


async def test_who_leaves_or_has_waited_leaves_a_place(double: IdentityProviderDouble, clock: Clock) -> None:
    turns = KeyTurns(MOST_CALLS)
    keys = FetchedKeySet(lambda: fetch(double.jwks_url), RULES.algorithms, MAX_STALE, clock, turns=turns)

    def all_wait() -> list[asyncio.Task[object]]:
        verify = verifier_with(keys).verify
        return [asyncio.create_task(verify(unknown(number), FLOODER)) for number in range(MOST_WAITING // 2)]

    double.gate.clear()
    leaving = all_wait()
    await double.until_fetched(1)
    for call_ in leaving:
        call_.cancel()
    await asyncio.wait(leaving)
    for fetches in (1, 2):
        waiting = all_wait()
        await double.until_fetched(fetches)
        double.gate.set()
        refusals = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(refusal) for refusal in refusals} == {CredentialRejected}
        clock.now += SECONDS_BETWEEN_DEMANDS
    await keys.close()
