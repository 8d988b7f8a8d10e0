"""What an auth service is asked: derived from the rpc, with the caller's own headers, and nothing else."""

import json

import pytest

from common.edge_metadata import FORWARDED_HEADERS_KEY
from service.auth.question import (
    MOST_HEADER_CHARACTERS,
    MOST_NAME_BYTES,
    question_of,
)
from service.authentication import POLICIES, Access
from service.errors import CredentialRejected, RequestMalformed
from service.metadata import Metadata
from service.rooms import MAX_ROOM_NAME_BYTES
from tenantrooms.v1 import tenant_rooms_pb2 as pb

LIST, GET = "/tenantrooms.v1.TenantRooms/ListRooms", "/tenantrooms.v1.TenantRooms/GetRoom"


def headers(metadata: Metadata) -> dict[str, str]:
    return dict(question_of(LIST, pb.ListRoomsRequest(), metadata, "t").headers)


def forwarded(*pairs: tuple[str, str]) -> Metadata:
    return [(FORWARDED_HEADERS_KEY, json.dumps(pairs).encode())]


def test_every_rpc_that_needs_a_credential_has_a_rest_route() -> None:
    requests = {LIST: pb.ListRoomsRequest(), GET: pb.GetRoomRequest()}
    assert requests.keys() == {rpc for rpc, access in POLICIES.items() if access is Access.CREDENTIAL}
    for rpc, request in requests.items():
        assert question_of(rpc, request, (), "t").method == "GET"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("standup", "/livekit/rooms/standup"),
        ("a/b", "/livekit/rooms/a%2Fb"),
        ("..", "/livekit/rooms/.."),
        ("a b+c", "/livekit/rooms/a%20b%2Bc"),
        ("caf\u00e9", "/livekit/rooms/caf%C3%A9"),
        ("a%2Fb", "/livekit/rooms/a%252Fb"),
        ("a?api_key=x#y", "/livekit/rooms/a%3Fapi_key%3Dx%23y"),
        ("\r\n\x00", "/livekit/rooms/%0D%0A%00"),
        ("", "/livekit/rooms/"),
    ],
)
def test_the_path_is_that_of_the_rest_route_with_the_name_encoded(name: str, path: str) -> None:
    question = question_of(GET, pb.GetRoomRequest(room_name=name), (), "t")
    assert (question.method, question.path) == ("GET", path)
    assert question_of(LIST, pb.ListRoomsRequest(), (), "t").path == "/livekit/rooms"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("n" * 256, "n" * 256),
        ("n" * 60_000, "n" * 256),
        ("%" * 60_000, "%25" * 256),
        ("\u00e9" * 128, "%C3%A9" * 128),
        ("n" + "\u00e9" * 128, "n" + "%C3%A9" * 127),  # no half characters
    ],
)
def test_of_a_name_that_no_room_can_have_only_the_beginning_is_asked_with(name: str, asked: str) -> None:
    question = question_of(GET, pb.GetRoomRequest(room_name=name), (), "t")
    assert question.path == f"/livekit/rooms/{asked}"
    assert MOST_NAME_BYTES == MAX_ROOM_NAME_BYTES


def test_more_headers_than_the_edge_lets_through_are_refused_and_not_sent_on() -> None:
    most = MOST_HEADER_CHARACTERS - len("name")
    for metadata in ([("name", "v" * most)], forwarded(("name", "v" * most))):
        assert headers(metadata) == {"name": "v" * most}
    kept_back: Metadata = [("cookie", "v" * most), ("name", "v" * most)]
    assert headers(kept_back) == {"name": "v" * most}
    for metadata in (
        [("name", "v" * (most + 1))],
        forwarded(("name", "v" * (most + 1))),
        [("name", "v"), ("other", "v" * most)],
        [("name", "v" * most), ("name", "v")],
    ):
        with pytest.raises(CredentialRejected):
            headers(metadata)


def test_method_and_path_are_never_taken_from_the_caller() -> None:
    claimed = [(":path", "/admin"), ("x-original-uri", "/admin"), ("x-http-method-override", "DELETE")]
    question = question_of(LIST, pb.ListRoomsRequest(), claimed, "t")
    assert (question.method, question.path) == ("GET", "/livekit/rooms")


KEPT_BACK = [
    "authorization", "cookie", "x-api-key", "proxy-authorization", "host", "x-real-ip",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-anything", "x-sayna-user", "x-sayna-",
]  # fmt: skip


@pytest.mark.parametrize("name", KEPT_BACK)
def test_headers_that_must_not_leave_are_kept_back_in_any_spelling(name: str) -> None:
    for spelled in (name, name.upper(), name.title(), name.replace("-", "_")):
        assert headers([(spelled, "v"), ("kept", "v")]) == {"kept": "v"}
        assert headers(forwarded((spelled, "v"), ("Kept", "v"))) == {"kept": "v"}


def test_a_grpc_callers_metadata_serves_as_its_headers_binary_values_aside() -> None:
    metadata: Metadata = [("user-agent", "grpc"), ("accept-language", "de"), ("trace-bin", b"\x00")]
    assert headers(metadata) == {"user-agent": "grpc", "accept-language": "de"}


def test_forwarded_headers_take_the_place_of_the_metadata() -> None:
    metadata = [("user-agent", "the edge's"), *(forwarded(("User-Agent", "the caller's")) or ())]
    assert headers(metadata) == {"user-agent": "the caller's"}


def test_headers_of_one_name_are_joined_in_their_order() -> None:
    assert headers([("accept", "b"), ("accept", "a")]) == {"accept": "b, a"}


def test_the_order_of_headers_of_different_names_makes_no_other_question() -> None:
    one = question_of(LIST, pb.ListRoomsRequest(), [("a", "1"), ("b", "2")], "t")
    other = question_of(LIST, pb.ListRoomsRequest(), [("b", "2"), ("a", "1")], "t")
    assert one == other


@pytest.mark.parametrize("name", ["authorization ", " cookie", "cookie\0", "a:b", "", "caf\u00e9"])
def test_what_is_no_header_name_is_left_out(name: str) -> None:
    assert headers(forwarded((name, "v"), ("kept", "v"))) == {"kept": "v"}


@pytest.mark.parametrize(
    "value", [b'[["a","\xff"]]', b"", b"{}", b"[1]", b'[["a"]]', b'[["a",1]]', b"\xff", b"[" * 9000]
)
def test_forwarded_headers_that_are_none_are_a_malformed_request(value: bytes) -> None:
    with pytest.raises(RequestMalformed):
        headers([(FORWARDED_HEADERS_KEY, value)])


def test_a_question_keeps_the_token_and_headers_out_of_its_repr() -> None:
    question = question_of(LIST, pb.ListRoomsRequest(), [("a", "canary-h")], "canary-t")
    assert "canary" not in repr(question)
