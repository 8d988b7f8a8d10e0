"""What callers send, and that only the right answer passes, over REST, gRPC and Twirp."""

import json
from typing import Any

import pytest
from livekit.protocol.models import Room
from livekit.protocol.room import ListRoomsResponse

from benchmarks.layout import CREATED, Store, secret_of
from benchmarks.plan import Kind, Load, Protocol
from benchmarks.requests import PARTICIPANTS, Request, requests_of, scan_request
from tenantrooms.v1 import tenant_rooms_pb2 as pb

LIST = Request("token", ("a", "b"))
DETAILS = Request("token", ("a/b",), details=True)


def summary(name: str, **changed: Any) -> dict[str, Any]:
    return {"name": name, "num_participants": PARTICIPANTS, "creation_time": CREATED} | changed


def listed(*names: str, token: str = "") -> bytes:
    page = pb.ListRoomsResponse(next_page_token=token)
    for name in names:
        page.rooms.add(name=name, num_participants=PARTICIPANTS).creation_time.seconds = CREATED
    return page.SerializeToString()


def test_the_right_list_is_right_in_any_spelling() -> None:
    rooms = {"rooms": [summary("a"), summary("b")]}
    for text in (json.dumps(rooms), json.dumps(rooms, separators=(",", ":"))):
        assert LIST.is_right(Protocol.REST, text.encode())
    assert LIST.is_right(Protocol.GRPC, listed("a", "b"))


@pytest.mark.parametrize(
    "rooms",
    [
        [],
        [summary("a")],
        [summary("b"), summary("a")],
        [summary("a"), summary("b"), summary("c")],
        [summary("a"), summary("x")],
        [summary("a"), summary("b", num_participants=0)],
        [summary("a"), summary("b", creation_time=0)],
    ],
)
def test_any_other_list_is_wrong(rooms: list[dict[str, Any]]) -> None:
    assert not LIST.is_right(Protocol.REST, json.dumps({"rooms": rooms}).encode())


@pytest.mark.parametrize("body", [listed(), listed("a"), listed("b", "a"), listed("a", "b", token="more")])
def test_any_other_page_is_wrong(body: bytes) -> None:
    assert not LIST.is_right(Protocol.GRPC, body)


@pytest.mark.parametrize(("name", "people", "right"), [("a/b", 2, True), ("a/b", 1, False), ("c", 2, False)])
def test_details_are_of_the_room_and_all_that_are_in_it(name: str, people: int, right: bool) -> None:
    participants = [{"identity": str(number)} for number in range(people)]
    body = json.dumps({**summary(name), "participants": participants}).encode()
    assert DETAILS.is_right(Protocol.REST, body) is right
    message = pb.GetRoomResponse(participants=[pb.Participant(identity=str(n)) for n in range(people)])
    message.room.name, message.room.num_participants = name, PARTICIPANTS
    message.room.creation_time.seconds = CREATED
    assert DETAILS.is_right(Protocol.GRPC, message.SerializeToString()) is right


@pytest.mark.parametrize(("rooms", "right"), [(3, True), (2, False)])
def test_a_scan_has_every_room(rooms: int, right: bool) -> None:
    body = ListRoomsResponse(rooms=[Room(name=str(number)) for number in range(rooms)]).SerializeToString()
    assert Request("token", rooms=3).is_right(Protocol.TWIRP, body) is right


def test_requests_are_whole_http_with_the_name_encoded() -> None:
    assert DETAILS.http(Protocol.REST, "127.0.0.1:1") == (
        b"GET /livekit/rooms/a%2Fb HTTP/1.1\r\nHost: 127.0.0.1:1\r\nAuthorization: Bearer token\r\n\r\n"
    )
    scan = scan_request(Store(10, 1), "livekit's").http(Protocol.TWIRP, "127.0.0.1:1")
    assert scan.startswith(b"POST /twirp/livekit.RoomService/ListRooms HTTP/1.1\r\n")
    assert b"\r\nContent-Length: 0\r\n" in scan


@pytest.mark.parametrize(
    ("kind", "tenants", "count"),
    [
        (Kind.LIST, 1, 1),
        (Kind.LIST, 64, 64),
        (Kind.DISTINCT, 1, 100),
        (Kind.DISTINCT, 64, 100),
        (Kind.POLLED, 1, 2),
    ],
)
def test_each_caller_asks_for_its_own_rooms_only(kind: Kind, tenants: int, count: int) -> None:
    store = Store(1_000, tenants)
    requests = requests_of(Load(kind, 1_000, tenants, 64))
    assert len(set(requests)) == count
    own = {secret_of(tenant): set(store.names_of(tenant)) for tenant in range(tenants)}
    assert all(request.names and own[request.token] >= set(request.names) for request in requests)


@pytest.mark.parametrize("request_sent", [LIST, DETAILS, Request("token", rooms=3)])
def test_a_request_survives_the_way_to_another_process(request_sent: Request) -> None:
    assert Request.from_mapping(json.loads(json.dumps(request_sent.to_mapping()))) == request_sent
