"""The two room routes: what they ask of the service, and what its answers become."""

import asyncio

import grpc
import pytest
import structlog

from common.edge_metadata import CLIENT_ADDRESS_KEY, FORWARDED_HEADERS_KEY
from edge.asgi import Edge
from edge.call import Call
from edge.credentials import Credential, Kind
from edge.rooms import Rooms
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.edge.asgi_calls import ask
from tests.edge.fake_client import FakeClient, failure

BOTH = [b"/livekit/rooms", b"/livekit/rooms/a"]


def page(*names: str) -> pb.ListRoomsResponse:
    return pb.ListRoomsResponse(rooms=[pb.RoomSummary(name=name) for name in names])


def call(kind: Kind = Kind.NOTHING, token: str | None = None, name: str = "") -> Call:
    return Call("id-1", Credential(kind, token), name)


async def test_a_list_is_put_together_from_all_pages(app: Edge, client: FakeClient) -> None:
    client.pages = [page("a", "b"), page(), page("c")]
    reply = await ask(app, b"/livekit/rooms")
    assert [room["name"] for room in reply.json["rooms"]] == ["a", "b", "c"]


async def test_a_list_has_one_timeout_and_one_request_id() -> None:
    client = FakeClient(is_open=True)
    await Rooms(client, 7.5).list_rooms(call())
    (made,) = client.calls
    assert 7 < made.timeout <= 7.5
    assert made.metadata["x-request-id"] == "id-1"


async def test_a_list_that_fails_on_a_later_page_is_an_error_and_never_a_part(
    app: Edge, client: FakeClient
) -> None:
    client.pages, client.pages_before_it = [page("a"), page("b")], 1
    client.failure = failure(grpc.StatusCode.INTERNAL, "LIVEKIT_FAILED")
    reply = await ask(app, b"/livekit/rooms")
    assert (reply.status, reply.json) == (500, {"error": "Failed to list rooms"})


@pytest.mark.parametrize("target", BOTH)
async def test_an_answer_that_cannot_be_decoded_is_a_fault(
    app: Edge, client: FakeClient, target: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rubbish(*_: object, **__: object) -> bytes:
        return b"\xff"

    monkeypatch.setattr(client, "list_rooms_page", rubbish)
    monkeypatch.setattr(client, "get_room", rubbish)
    with structlog.testing.capture_logs() as logs:
        reply = await ask(app, target)
    text = "Failed to list rooms" if target == BOTH[0] else "Failed to get room details"
    assert (reply.status, reply.json) == (500, {"error": text})
    assert [(log["event"], log["code"], log.get("reason")) for log in logs] == [("request", "INTERNAL", None)]


async def test_other_requests_get_their_turn_while_a_long_list_is_encoded() -> None:
    client = FakeClient(pages=[page(*(f"room-{n}" for n in range(10_000)))], is_open=True)
    work = asyncio.create_task(Rooms(client, 10.0).list_rooms(call()))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    answer = await work
    assert answer.body.count(b'"name"') == 10_000
    assert turns >= 5


@pytest.mark.parametrize("target", BOTH)
async def test_a_token_is_passed_on_and_nothing_else(app: Edge, client: FakeClient, target: bytes) -> None:
    await ask(
        app,
        target,
        headers=[(b"authorization", b"Bearer a"), (b"x-auth-id", b"acme"), (b"tenant-id", b"acme")],
    )
    await ask(app, target + b"?api_key=b%2B")
    await ask(app, target)
    assert [made.token for made in client.calls] == ["a", "b+", None]
    assert [set(made.metadata) for made in client.calls] == [
        {"x-request-id", FORWARDED_HEADERS_KEY, CLIENT_ADDRESS_KEY},
        {"x-request-id", FORWARDED_HEADERS_KEY, CLIENT_ADDRESS_KEY},
        {"x-request-id"},
    ]
    for made in client.calls[:2]:
        assert "Bearer" not in repr(made.metadata[FORWARDED_HEADERS_KEY])


async def test_the_service_is_told_a_tokens_address_also_where_it_is_not_told_the_headers() -> None:
    client = FakeClient(pages=[page()], is_open=True)
    rooms = Rooms(client, 1.0, forward_headers=False)
    for credential in (Credential(Kind.TOKEN, "a"), Credential(Kind.NOTHING, None)):
        await rooms.list_rooms(Call("id-1", credential, "", address="203.0.113.9"))
    assert [made.metadata for made in client.calls] == [
        {"x-request-id": "id-1", CLIENT_ADDRESS_KEY: "203.0.113.9"},
        {"x-request-id": "id-1"},
    ]


@pytest.mark.parametrize("target", BOTH)
async def test_an_unusable_credential_is_left_to_the_service_to_judge(
    app: Edge, client: FakeClient, target: bytes
) -> None:
    await ask(app, target, headers=[(b"authorization", b"Basic abc")])
    await ask(app, target + b"?api_key=")
    assert [(made.token, made.metadata["authorization"]) for made in client.calls] == [(None, "Bearer")] * 2


@pytest.mark.parametrize("target", BOTH)
@pytest.mark.parametrize("query", [b"?api_key=a&api_key=b", b"?api_key=%20"])
async def test_a_credential_that_can_be_none_is_refused_without_a_call(
    app: Edge, client: FakeClient, target: bytes, query: bytes
) -> None:
    reply = await ask(app, target + query)
    assert (reply.status, reply.header("www-authenticate")) == (401, "Bearer")
    assert reply.json == {
        "error": "invalid_auth_header",
        "message": "The credential is not one usable Bearer token",
    }
    assert client.calls == []


@pytest.mark.parametrize("target", [b"/", b"/docs", b"/docs/openapi.json"])
async def test_other_routes_look_at_no_credential(app: Edge, target: bytes) -> None:
    assert (await ask(app, target + b"?api_key=a&api_key=b")).status == 200


@pytest.mark.parametrize(
    ("target", "failed", "expected"),
    [
        (BOTH[1], ("NOT_FOUND", "ROOM_NOT_FOUND"), (404, {"error": "Room not found or not accessible"})),
        (BOTH[1], ("INVALID_ARGUMENT", "ROOM_NAME_BLANK"), (400, {"error": "Room name cannot be empty"})),
        (BOTH[0], ("UNAVAILABLE", "LIVEKIT_UNAVAILABLE"), (500, {"error": "Failed to list rooms"})),
        (
            BOTH[1],
            ("DEADLINE_EXCEEDED", "LIVEKIT_UNAVAILABLE"),
            (500, {"error": "Failed to get room details"}),
        ),
        (BOTH[0], ("UNAVAILABLE", None), (503, {"error": "Service unavailable"})),
        (BOTH[1], ("DEADLINE_EXCEEDED", None), (503, {"error": "Service unavailable"})),
        (BOTH[1], ("NOT_FOUND", None), (500, {"error": "Failed to get room details"})),
        (BOTH[0], ("UNAUTHENTICATED", None), (500, {"error": "Failed to list rooms"})),
    ],
)
async def test_a_failed_call_becomes_the_answer_of_the_error_table(
    app: Edge,
    client: FakeClient,
    target: bytes,
    failed: tuple[str, str | None],
    expected: tuple[int, dict[str, str]],
) -> None:
    code, reason = failed
    client.failure = failure(grpc.StatusCode[code], reason)
    with structlog.testing.capture_logs() as log:
        reply = await ask(app, target)
    assert (reply.status, reply.json) == expected
    (line,) = log
    assert ("problem" in line) is (reason is None)
    told = (line["status"], line["code"], line.get("reason"), line["request_id"])
    assert told == (reply.status, code, reason, reply.header("x-request-id"))
    assert line["log_level"] == ("warning" if reply.status >= 500 or reply.status == 429 else "info")


async def test_a_401_and_a_429_carry_their_headers(app: Edge, client: FakeClient) -> None:
    client.failure = failure(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_REJECTED")
    reply = await ask(app, b"/livekit/rooms")
    assert (reply.status, reply.header("www-authenticate")) == (401, "Bearer")
    client.failure = failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    reply = await ask(app, b"/livekit/rooms")
    assert (reply.status, reply.header("retry-after")) == (429, "1")
