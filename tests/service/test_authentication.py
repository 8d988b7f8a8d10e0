"""The door, over real gRPC metadata: who a call is from, what refuses it, and that every rpc has a policy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from service import authentication
from service.auth.api_secrets import ApiSecret, ApiSecrets
from service.auth.authenticator import Authenticator
from service.auth.principal import Anonymous, Operator, Tenant, TenantId
from service.authentication import POLICIES, PRINCIPAL, Access, AuthenticationInterceptor
from service.error_boundary import ErrorBoundary
from service.errors import CredentialRejected
from service.server import running_server
from service.settings import load
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import GET_ROOM, LIST_ROOMS, Context, Metadata, Scripted, bearer, call, serving

ACME, OPERATOR = "acme-secret", "operator-secret"
SECRETS = ApiSecrets([ApiSecret("acme", ACME), ApiSecret("on-call", OPERATOR, "operator")])


async def who(_request: object, _context: Context) -> pb.ListRoomsResponse:
    """Answers with the caller."""
    return pb.ListRoomsResponse(next_page_token=repr(PRINCIPAL.get()))


def door(authenticator: Authenticator) -> tuple[grpc.aio.ServerInterceptor, ...]:
    return ErrorBoundary(), AuthenticationInterceptor(authenticator)


@pytest.fixture(scope="module")
async def doors() -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """One server for each way to set the door up; all answer with the caller."""
    settings = {
        "required": Authenticator([SECRETS], required=True),
        "required, no verifier": Authenticator([], required=True),
        "open": Authenticator([SECRETS], required=False),
        "open, no verifier": Authenticator([], required=False),
    }
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(serving(Scripted(who), *door(authenticator)))
            for name, authenticator in settings.items()
        }


async def caller(channel: grpc.aio.Channel, metadata: Metadata) -> str:
    """The caller that the service sees, or the reason of the refusal."""
    outcome = await call(channel, LIST_ROOMS, metadata=metadata)
    if outcome.code is grpc.StatusCode.OK:
        return pb.ListRoomsResponse.FromString(outcome.body).next_page_token
    assert outcome.code is grpc.StatusCode.UNAUTHENTICATED
    return outcome.reason


TENANT, OPERATING, ANYBODY = repr(Tenant(TenantId("acme"))), repr(Operator("on-call")), "Anonymous()"
MISSING, MALFORMED, REJECTED = "CREDENTIAL_MISSING", "CREDENTIAL_MALFORMED", "CREDENTIAL_REJECTED"


def authorization(*values: str) -> Metadata:
    return [("authorization", value) for value in values]


FORGED: Metadata = [
    (key, "acme")
    for key in (
        *("tenant-id", "tenant_id", "x-tenant", "x-tenant-id", "auth-id", "auth_id", "x-auth-id", "auth.id"),
        *("x-forwarded-user", "x-forwarded-authorization", "cookie", "role", "x-role", "principal"),
    )
]

# MATRIX C6, C5.
NOTHING: dict[str, Metadata] = {
    "nothing": [],
    "forged tenant metadata": FORGED,
    "an operator's claim": [("role", "operator")],
    "the credential in binary": [("authorization-bin", f"Bearer {ACME}".encode())],
    "the credential under another key": [("x-api-key", ACME), ("proxy-authorization", f"Bearer {ACME}")],
}

PRESENTED: dict[str, tuple[Metadata, str]] = {
    "a tenant's": (bearer(ACME), TENANT),
    "an operator's": (bearer(OPERATOR), OPERATING),
    "a tenant's, and forged metadata": ([*bearer(ACME), *FORGED, ("tenant-id", "globex")], TENANT),
    "the scheme in another case": (authorization(f"bEARER {ACME}"), TENANT),
    "blanks around the token": (authorization(f"Bearer   {ACME}  "), TENANT),
    "the same twice": (authorization(f"Bearer {ACME}", f"Bearer {ACME}"), TENANT),
    "two different": (authorization(f"Bearer {ACME}", "Bearer x"), MALFORMED),
    "two good ones": (authorization(f"Bearer {ACME}", f"Bearer {OPERATOR}"), MALFORMED),
    "two in one": (authorization(f"Bearer {ACME}, Bearer {ACME}"), MALFORMED),
    "a good one and a bare scheme": (authorization(f"Bearer {ACME}", "Bearer"), MALFORMED),
    "an empty value": (authorization(""), MALFORMED),
    "a bare scheme": (authorization("Bearer"), MALFORMED),
    "a token without a scheme": (authorization(ACME), MALFORMED),
    "another scheme": (authorization(f"Basic {ACME}"), MALFORMED),
    "a blank in the token": (bearer("a b"), MALFORMED),
    "a token too long": (bearer("t" * 8193), MALFORMED),
    "an unknown token": (bearer("nobody's"), REJECTED),
    "a tenant's id": (bearer("acme"), REJECTED),
    "a secret cut short": (bearer(ACME[:-1]), REJECTED),
    "a secret in another case": (bearer(ACME.upper()), REJECTED),
}


@pytest.mark.parametrize("metadata", NOTHING.values(), ids=NOTHING)
async def test_a_call_without_a_credential_is_refused_or_anybodys(
    doors: dict[str, grpc.aio.Channel], metadata: Metadata
) -> None:
    assert await caller(doors["required"], metadata) == MISSING
    assert await caller(doors["required, no verifier"], metadata) == MISSING
    assert await caller(doors["open"], metadata) == ANYBODY
    assert await caller(doors["open, no verifier"], metadata) == ANYBODY


@pytest.mark.parametrize(("metadata", "expected"), PRESENTED.values(), ids=PRESENTED)
async def test_a_presented_credential_decides_however_open_the_door(
    doors: dict[str, grpc.aio.Channel], metadata: Metadata, expected: str
) -> None:
    assert await caller(doors["required"], metadata) == expected
    assert await caller(doors["open"], metadata) == expected
    # Where nothing can verify it, it is refused or, with the door open, ignored.
    assert await caller(doors["required, no verifier"], metadata) in (MALFORMED, REJECTED)
    assert await caller(doors["open, no verifier"], metadata) == ANYBODY


class Verifier:
    """Knows what it is told to know, and remembers what it was asked."""

    def __init__(self, **known: str | None) -> None:
        self.known = known
        self.asked: list[str] = []

    async def verify(self, token: str, client: str | None) -> Tenant | None:
        self.asked.append(token)
        if token not in self.known:
            return None
        tenant_id = self.known[token]
        if tenant_id is None:
            raise CredentialRejected
        return Tenant(TenantId(tenant_id))


async def test_the_first_verifier_that_knows_a_token_decides() -> None:
    first, second = Verifier(one="first", bad=None), Verifier(one="second", two="second", bad="second")
    async with serving(Scripted(who), *door(Authenticator([first, second], required=True))) as channel:
        assert await caller(channel, bearer("one")) == repr(Tenant(TenantId("first")))
        assert await caller(channel, bearer("two")) == repr(Tenant(TenantId("second")))
        assert await caller(channel, bearer("bad")) == REJECTED
        assert await caller(channel, bearer("three")) == REJECTED
    assert (first.asked, second.asked) == (["one", "two", "bad", "three"], ["two", "three"])


# --- order ------------------------------------------------------------------------------------------------


UNUSABLE_REQUESTS: dict[str, Message | bytes] = {
    "no message": b"\xff\xff",
    "no room name": pb.GetRoomRequest(),
    "everything wrong": pb.GetRoomRequest(room_name="x" * 300, tenant_id=" "),
}


@pytest.mark.parametrize("unusable", UNUSABLE_REQUESTS.values(), ids=UNUSABLE_REQUESTS)
async def test_authentication_comes_before_decoding_and_validation(unusable: Message | bytes) -> None:
    servicer = Scripted(who)
    async with serving(servicer, *door(Authenticator([SECRETS], required=True))) as channel:
        for metadata, reason in (((), MISSING), (bearer("x"), REJECTED), (authorization("x"), MALFORMED)):
            outcome = await call(channel, GET_ROOM, unusable, metadata)
            assert (outcome.code, outcome.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert servicer.calls == 0


async def test_concurrent_calls_do_not_see_each_others_callers() -> None:
    count = 40
    waiting, all_here = 0, asyncio.Event()

    async def wait_for_all(_request: object, _context: Context) -> pb.ListRoomsResponse:
        nonlocal waiting
        before = PRINCIPAL.get()
        waiting += 1
        if waiting == count:
            all_here.set()
        await all_here.wait()
        assert PRINCIPAL.get() is before
        return pb.ListRoomsResponse(next_page_token=repr(before))

    secrets = ApiSecrets(ApiSecret(f"tenant-{number}", f"secret-{number}") for number in range(count))
    async with serving(Scripted(wait_for_all), *door(Authenticator([secrets], required=True))) as channel:
        callers = await asyncio.gather(*(caller(channel, bearer(f"secret-{n}")) for n in range(count)))
    assert callers == [repr(Tenant(TenantId(f"tenant-{number}"))) for number in range(count)]


def test_nobody_is_the_caller_where_nobody_was_authenticated() -> None:
    with pytest.raises(LookupError):
        PRINCIPAL.get()


# --- policies ---------------------------------------------------------------------------------------------


async def test_every_rpc_that_the_server_has_is_in_the_policies_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served: set[str] = set()
    server_class = type(grpc.aio.server())
    register, register_generic = (
        server_class.add_registered_method_handlers,
        server_class.add_generic_rpc_handlers,
    )

    def record(server: grpc.aio.Server, service_name: str, handlers: dict[str, Any]) -> None:
        served.update(f"/{service_name}/{method}" for method in handlers)
        register(server, service_name, handlers)

    def record_generic(server: grpc.aio.Server, handlers: Any) -> None:
        for handler in handlers:
            served.update(handler._method_handlers)
        register_generic(server, handlers)

    monkeypatch.setattr(server_class, "add_registered_method_handlers", record)
    monkeypatch.setattr(server_class, "add_generic_rpc_handlers", record_generic)
    async with running_server(load({"TENANTROOMS_GRPC_LISTEN": f"unix:{tmp_path}/s"})):
        pass
    assert {rpc.split("/")[1] for rpc in served} == {
        "tenantrooms.v1.TenantRooms",
        "tenantrooms.relay.v1.Relay",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert served == set(POLICIES)


def test_every_rpc_of_the_contract_needs_a_credential() -> None:
    service = pb.DESCRIPTOR.services_by_name["TenantRooms"]
    rpcs = {f"/{service.full_name}/{method.name}" for method in service.methods}
    assert rpcs == {rpc for rpc, access in POLICIES.items() if access is Access.CREDENTIAL}


async def test_an_rpc_without_a_policy_is_never_served(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = {rpc: access for rpc, access in POLICIES.items() if rpc != LIST_ROOMS}
    monkeypatch.setattr(authentication, "POLICIES", policies)
    servicer = Scripted(who)
    async with serving(servicer, *door(Authenticator([SECRETS], required=False))) as channel:
        outcome = await call(channel, LIST_ROOMS, metadata=bearer(ACME))
        assert (outcome.code, outcome.reason) == (grpc.StatusCode.INTERNAL, "UNEXPECTED")
        assert servicer.calls == 0
        assert (await call(channel, GET_ROOM, metadata=bearer(ACME))).code is grpc.StatusCode.OK


class Noticing:
    """Verifies as another does, and says when it did."""

    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def verify(self, token: str, client: str | None) -> Tenant | Operator | Anonymous | None:
        self.done.set()
        return await SECRETS.verify(token)


@pytest.mark.parametrize("reason", ["the credentials have changed", "it took long"])
async def test_a_request_that_is_held_back_is_served_for_whom_its_credential_names_then(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = Noticing()
    interceptor = AuthenticationInterceptor(Authenticator([verifier], required=True))
    send = asyncio.Event()

    async def held_back() -> AsyncIterator[bytes]:
        await send.wait()
        yield b""

    async with serving(Scripted(who), ErrorBoundary(), interceptor) as channel:
        opened: Any = channel.stream_unary(LIST_ROOMS)
        under_way = opened(held_back(), metadata=bearer(ACME))
        await verifier.done.wait()
        nobody: Any = Authenticator([ApiSecrets([])], required=True)
        if reason == "it took long":
            monkeypatch.setattr(authentication, "_REQUEST_SECONDS", -1.0)
            monkeypatch.setattr(interceptor.authenticator, "_verifiers", [ApiSecrets([])])
        else:
            interceptor.authenticator = nobody
        send.set()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await under_way
    assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
