"""The record of an operator's read: one line for each rpc, whatever comes of it, and none for others."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from service.audit import AuditInterceptor
from service.audit_log import NotRecorded
from service.auth.api_secrets import ApiSecret, ApiSecrets
from service.auth.authenticator import Authenticator
from service.authentication import AuthenticationInterceptor
from service.error_boundary import ErrorBoundary
from service.errors import LiveKitFailed, LiveKitTimedOut, RoomNotFound, TenantIdBlank
from service.server import running_server
from service.settings import load
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import GET_ROOM, LIST_ROOMS, Context, Scripted, bearer, call, get_room, serving
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import TwirpError

ACME, OPERATOR = "canary-acme-secret", "canary-operator-secret"
SECRETS = [ApiSecret("acme", ACME), ApiSecret("on-call", OPERATOR, "operator")]
NOW = datetime(2026, 11, 23, 7, 54, 15, 95_816, tzinfo=UTC)
READ = {
    "log": "audit",
    "event": "read by an operator",
    "level": "info",
    "timestamp": "2026-11-23T07:54:15.095Z",
    "request_id": "r-1",
    "operator": "on-call",
}
ID = ("x-request-id", "r-1")


class Log:
    """Keeps records, or refuses them."""

    def __init__(self) -> None:
        self.records: list[dict[str, str]] = []
        self.refuses = False
        self.writing, self.written = asyncio.Event(), asyncio.Event()
        self.written.set()

    async def write(self, record: Mapping[str, str]) -> None:
        if self.refuses:
            raise NotRecorded
        self.write_unawaited(record)
        self.writing.set()
        await self.written.wait()

    def write_unawaited(self, record: Mapping[str, str]) -> None:
        self.records.append(dict(record))


class Service:
    """A service whose rpcs do what a test says, behind the audit, and its log."""

    def __init__(self, channel: grpc.aio.Channel, scripted: Scripted, log: Log) -> None:
        self.channel, self.scripted, self.log = channel, scripted, log

    def fails(self, error: Exception) -> None:
        async def fail(_request: object, _context: Context) -> Any:
            raise error

        self.scripted.behaviour = fail


async def answer(request: object, _context: Context) -> Any:
    return pb.ListRoomsResponse() if isinstance(request, pb.ListRoomsRequest) else pb.GetRoomResponse()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    scripted, log = Scripted(answer), Log()
    authenticator = Authenticator([ApiSecrets(SECRETS)], required=False)
    async with serving(
        scripted,
        ErrorBoundary(),
        AuthenticationInterceptor(authenticator),
        AuditInterceptor(log, lambda: NOW),
    ) as channel:
        yield Service(channel, scripted, log)


async def test_a_list_is_recorded(service: Service) -> None:
    outcome = await call(service.channel, LIST_ROOMS, metadata=[*bearer(OPERATOR), ID])
    assert outcome.code is StatusCode.OK
    assert service.log.records == [{**READ, "rpc": "ListRooms", "scope": "all", "outcome": "answered"}]


async def test_details_are_recorded_with_the_name_of_the_room(service: Service) -> None:
    request = pb.GetRoomRequest(room_name="lobby\n\u202e{")
    await call(service.channel, GET_ROOM, request, [*bearer(OPERATOR), ID])
    assert service.log.records == [
        {**READ, "rpc": "GetRoom", "scope": "all", "room_name": "lobby\n\u202e{", "outcome": "answered"}
    ]


async def test_acting_for_a_tenant_is_recorded_with_the_tenant(service: Service) -> None:
    for tenant in ("acme", "all", ""):
        await call(service.channel, LIST_ROOMS, pb.ListRoomsRequest(tenant_id=tenant), bearer(OPERATOR))
    assert [(record["scope"], record["tenant_id"]) for record in service.log.records] == [
        ("tenant", "acme"),
        ("tenant", "all"),
        ("tenant", ""),
    ]


FAILURES: list[tuple[Exception, dict[str, str]]] = [
    (RoomNotFound(), {"outcome": "not_found", "reason": "ROOM_NOT_FOUND"}),
    (TenantIdBlank(), {"outcome": "failed", "reason": "TENANT_ID_BLANK"}),
    (LiveKitFailed("canary"), {"outcome": "failed", "reason": "LIVEKIT_FAILED"}),
    (LiveKitTimedOut("canary"), {"outcome": "failed", "reason": "LIVEKIT_UNAVAILABLE"}),
    (ValueError("canary"), {"outcome": "failed", "reason": "UNEXPECTED"}),
]


@pytest.mark.parametrize(("error", "told"), FAILURES)
async def test_a_read_that_fails_is_recorded_with_the_reason(
    service: Service, error: Exception, told: dict[str, str]
) -> None:
    service.fails(error)
    outcome = await get_room(service.channel, "lobby", OPERATOR)
    assert outcome.reason == told["reason"]
    (record,) = service.log.records
    assert {key: record[key] for key in ("outcome", "reason")} == told
    assert "canary" not in json.dumps(record)


async def test_a_read_whose_caller_leaves_is_recorded(service: Service) -> None:
    reached, left = asyncio.Event(), asyncio.Event()

    async def hang(_request: object, _context: Context) -> Any:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    service.scripted.behaviour = hang
    calling = asyncio.create_task(get_room(service.channel, "lobby", OPERATOR))
    await reached.wait()
    calling.cancel()
    await left.wait()
    await asyncio.wait([calling])
    assert [record["outcome"] for record in service.log.records] == ["cancelled"]


@pytest.mark.parametrize(("error", "outcome"), [(None, "answered"), (RoomNotFound(), "not_found")])
async def test_a_read_whose_caller_leaves_while_its_record_is_written_has_that_one_record(
    service: Service, error: Exception | None, outcome: str
) -> None:
    if error:
        service.fails(error)
    service.log.written.clear()
    calling = asyncio.create_task(get_room(service.channel, "lobby", OPERATOR))
    await service.log.writing.wait()
    calling.cancel()
    await asyncio.wait([calling])
    service.log.written.set()
    await get_room(service.channel, "lobby", OPERATOR)
    assert [record["outcome"] for record in service.log.records] == [outcome] * 2


@pytest.mark.parametrize("token", [ACME, None])
async def test_who_is_no_operator_leaves_no_record(service: Service, token: str | None) -> None:
    await call(service.channel, LIST_ROOMS, metadata=bearer(token))
    service.fails(RoomNotFound())
    await get_room(service.channel, "lobby", token)
    assert service.scripted.calls == 2
    assert service.log.records == []


async def test_a_refused_credential_is_no_read(service: Service) -> None:
    outcome = await get_room(service.channel, "lobby", "nobody's")
    assert outcome.reason == "CREDENTIAL_REJECTED"
    assert service.log.records == []


async def test_a_read_that_cannot_be_recorded_is_refused(service: Service) -> None:
    service.log.refuses = True
    for error in (None, RoomNotFound()):
        if error:
            service.fails(error)
        outcome = await get_room(service.channel, "lobby", OPERATOR)
        assert (outcome.code, outcome.reason) == (StatusCode.INTERNAL, "UNEXPECTED")
        assert outcome.body == b""
    assert (await get_room(service.channel, "lobby", ACME)).reason == "ROOM_NOT_FOUND"


async def test_the_service_records_each_page_and_each_room_in_its_file(
    tmp_path: Path, livekit_double: LiveKitDouble
) -> None:
    path, address = tmp_path / "audit.log", f"unix:{tmp_path}/s"
    for name in ("a", "b", "c"):
        livekit_double.put_room(name, owner="acme")
    settings = load(
        {
            "TENANTROOMS_GRPC_LISTEN": address,
            "TENANTROOMS_AUDIT_LOG": str(path),
            "LIVEKIT_URL": livekit_double.ws_url,
            "LIVEKIT_API_KEY": livekit_double.api_key,
            "LIVEKIT_API_SECRET": livekit_double.api_secret,
            "AUTH_API_SECRETS_JSON": json.dumps(
                [{"id": entry.id, "secret": entry.secret, "role": entry.role} for entry in SECRETS]
            ),
        }
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running_server(settings))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        page = pb.ListRoomsResponse()
        for _ in range(2):
            request = pb.ListRoomsRequest(tenant_id="acme", page_size=2, page_token=page.next_page_token)
            outcome = await call(channel, LIST_ROOMS, request, bearer(OPERATOR))
            page = pb.ListRoomsResponse.FromString(outcome.body)
        assert page.next_page_token == ""
        ids = [
            (await get_room(channel, "a", OPERATOR)).request_id,
            (await get_room(channel, "absent", OPERATOR)).request_id,
            (await get_room(channel, "a", OPERATOR, tenant_id="globex")).request_id,
        ]
        livekit_double.script("ListRooms", *[TwirpError("internal", "canary-upstream")] * 2)
        ids.append((await get_room(channel, "a", OPERATOR)).request_id)
        assert (await get_room(channel, "a", ACME)).code is StatusCode.OK
        assert (await get_room(channel, "a")).code is StatusCode.OK  # anonymous
    text = path.read_text()
    assert "canary" not in text
    read = [json.loads(line) for line in text.splitlines()]
    assert [(record["rpc"], record["scope"], record["outcome"]) for record in read] == [
        ("ListRooms", "tenant", "answered"),
        ("ListRooms", "tenant", "answered"),
        ("GetRoom", "all", "answered"),
        ("GetRoom", "all", "not_found"),
        ("GetRoom", "tenant", "not_found"),
        ("GetRoom", "all", "failed"),
    ]
    assert [record["request_id"] for record in read[2:]] == ids
