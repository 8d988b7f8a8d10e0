"""The edge as it runs, on granian, over raw sockets, in front of a service over real gRPC."""

import asyncio

import grpc
import pytest

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.edge.asgi_calls import Reply
from tests.edge.edge_process import EdgeProcess, eventually, parse
from tests.edge.fake_service import Failure, FakeService

NOT_FOUND = {"error": "Room not found or not accessible"}


def summaries(count: int) -> list[pb.RoomSummary]:
    return [pb.RoomSummary(name=f"room-{number:06}") for number in range(count)]


async def test_the_three_routes(edge: EdgeProcess, service: FakeService) -> None:
    service.script.rooms = summaries(2)
    service.script.details["a/b"] = pb.GetRoomResponse(room=pb.Room(name="a/b", sid="RM_1"))
    assert (await edge.ask("/")).body == b'{"status":"OK"}'
    listed = await edge.ask("/livekit/rooms")
    assert [room["name"] for room in listed.json["rooms"]] == ["room-000000", "room-000001"]
    assert (await edge.ask("/livekit/rooms/a%2Fb")).json["sid"] == "RM_1"
    assert listed.header("content-type") == "application/json"


async def test_a_name_reaches_the_service_exactly(edge: EdgeProcess, service: FakeService) -> None:
    """MATRIX C4, over a socket: HTTP clients and servers like to tidy paths up."""
    names = {
        "..": "..",
        ".": ".",
        "%2e%2e": "..",
        "%2F": "/",
        "%2F..%2F": "/../",
        "a%2F%2Fb": "a//b",
        "%00": "\0",
        "a+b": "a+b",
        "a%2541": "a%41",
        "%20a%20": " a ",
        "caf%C3%A9": "caf\u00e9",
        "cafe%CC%81": "cafe\u0301",
        "%C3%A9" * 128: "\u00e9" * 128,
        "x" * 257: "x" * 257,
    }
    for raw in names:
        reply = await edge.ask(f"/livekit/rooms/{raw}")
        assert (reply.status, reply.json) == (404, NOT_FOUND)
    assert service.names == list(names.values())


async def test_what_is_no_room_never_reaches_the_service(edge: EdgeProcess, service: FakeService) -> None:
    for path in (
        "/livekit/rooms/",
        "/livekit/rooms//a",
        "//livekit/rooms/a",
        "/livekit/rooms/a/b",
        "/livekit/rooms/../rooms",
        "/livekit/./rooms",
        "/livekit%2Frooms",
        "/LIVEKIT/rooms",
    ):
        reply = await edge.ask(path)
        assert (reply.status, reply.json) == (404, {"error": "Not Found"}), path
    for path in ("/livekit/rooms/%FF", "/livekit/rooms/%ED%A0%80", "/%C0%AE"):
        reply = await edge.ask(path)
        assert (reply.status, reply.json) == (400, {"error": "Path is not valid UTF-8"}), path
    assert service.calls == []


@pytest.mark.parametrize("target", ["http://edge.test/livekit/rooms/..?x", "/livekit/rooms/..#fragment"])
async def test_other_forms_of_a_target_mean_the_same(
    edge: EdgeProcess, service: FakeService, target: str
) -> None:
    await edge.ask(target)
    assert service.names == [".."]


async def test_refusals_that_the_server_makes_itself_are_clean(
    edge: EdgeProcess, service: FakeService
) -> None:
    for request in (
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET livekit/rooms HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /livekit/rooms HTTP/1.1\r\nX: a\0b\r\n\r\n",
        b"nonsense\r\n\r\n",
    ):
        assert parse(await edge.raw(request)).status == 400
    assert service.calls == []


async def test_a_huge_path_or_header_is_refused_and_costs_no_call(
    edge: EdgeProcess, service: FakeService
) -> None:
    """MATRIX C3."""
    for size in (9_000, 16 * 1024):
        reply = await edge.ask("/livekit/rooms/" + "x" * size)
        assert (reply.status, reply.json) == (414, {"error": "Path and query too long"})
        reply = await edge.ask("/livekit/rooms?api_key=" + "x" * size)
        assert (reply.status, reply.json) == (414, {"error": "Path and query too long"})
    for size in (33 * 1024, 48 * 1024):
        reply = await edge.ask("/livekit/rooms", ("X", "x" * size))
        assert (reply.status, reply.json) == (431, {"error": "Request headers too large"})
    # Beyond its buffer the server answers by itself, and calls a long path a header too.
    assert (await edge.ask("/livekit/rooms/" + "x" * 128 * 1024)).status in {414, 431}
    for size in (64 * 1024, 256 * 1024):
        assert (await edge.ask("/livekit/rooms", ("X", "x" * size))).status == 431
    assert (await edge.ask("/livekit/rooms", *(("X", "x") for _ in range(500)))).status == 431
    assert service.calls == []


async def test_a_body_is_ignored_up_to_its_limit(edge: EdgeProcess, service: FakeService) -> None:
    assert (await edge.ask("/livekit/rooms", body=b"x" * 65_536)).status == 200
    assert len(service.calls) == 1
    too_large = (413, {"error": "Request body too large"})
    reply = await edge.ask("/livekit/rooms", body=b"x" * 65_537)
    assert (reply.status, reply.json) == too_large
    head = (
        b"GET /livekit/rooms HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    reply = parse(await edge.raw(head + b"10001\r\n" + b"x" * 65_537 + b"\r\n0\r\n\r\n"))
    assert (reply.status, reply.json) == too_large
    assert len(service.calls) == 1


async def test_slow_headers_are_cut_off_and_nobody_else_is_held_up(
    impatient_edge: EdgeProcess, service: FakeService
) -> None:
    """MATRIX C2 with all of its 500, whether they send nothing more or a byte now and then."""

    async def trickle(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    begun = b"GET /livekit/rooms HTTP/1.1\r\nHo"
    silent = [asyncio.create_task(impatient_edge.raw(begun)) for _ in range(499)]
    reader, writer = await impatient_edge.connect()
    writer.write(b"GET /livekit/rooms HTTP/1.1\r\nX: ")
    trickling = asyncio.create_task(trickle(writer))
    try:
        assert (await impatient_edge.ask("/livekit/rooms")).status == 200
        async with asyncio.timeout(10):  # the setting says 1; granian's own default is 30
            answers = await asyncio.gather(*silent, reader.read(), return_exceptions=True)
        # Cut off without an answer; a reset is as good as an end.
        for answer in answers:
            assert answer == b"" or isinstance(answer, (ConnectionResetError, BrokenPipeError))
    finally:
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        writer.close()
    assert len(service.calls) == 1


async def test_a_body_that_is_no_http_is_refused_in_json(edge: EdgeProcess, service: FakeService) -> None:
    head = b"GET /livekit/rooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = parse(await edge.raw(head + b"no number\r\n\r\n"))
    assert (reply.status, reply.json) == (400, {"error": "Bad request"})
    assert service.calls == []


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_stuck_body_is_cut_off_and_nobody_else_is_held_up(
    impatient_edge: EdgeProcess, service: FakeService, method: bytes
) -> None:
    head = method + b" /livekit/rooms HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
    reader, writer = await impatient_edge.connect()
    writer.write(head + b"Content-Length: 10\r\n\r\nabc")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"  # it waits for the rest
    assert (await impatient_edge.ask("/livekit/rooms")).status == 200
    async with asyncio.timeout(10):  # the setting says 1
        reply = parse(await reader.read())  # to the end: the connection does not stay either
    writer.close()
    assert (reply.status, reply.header("connection")) == (408, "close")
    assert reply.body == (b"" if method == b"HEAD" else b'{"error":"Request Timeout"}')
    assert len(service.calls) == 1


async def test_head_keeps_the_connection_in_step(edge: EdgeProcess, service: FakeService) -> None:
    service.script.rooms = summaries(3)
    request = b"%s /livekit/rooms HTTP/1.1\r\nHost: a\r\n%s\r\n"
    both = await edge.raw(request % (b"HEAD", b"") + request % (b"GET", b"Connection: close\r\n"))
    head, _, rest = both.partition(b"\r\n\r\n")
    get = parse(rest)
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"content-length: %d" % len(get.body) in head
    assert len(get.json["rooms"]) == 3
    assert len(service.calls) == 2


async def test_options_and_methods(edge: EdgeProcess, service: FakeService) -> None:
    for path in ("/", "/livekit/rooms", "/livekit/rooms/a", "/docs"):
        options = await edge.ask(path, method="OPTIONS")
        assert (options.status, options.header("allow")) == (204, "GET, HEAD, OPTIONS")
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"):
            refused = await edge.ask(path, method=method)
            assert (refused.status, refused.header("allow")) == (405, "GET, HEAD, OPTIONS")
            assert refused.json == {"error": "Method Not Allowed"}
    assert (await edge.ask("/nowhere", method="POST")).json == {"error": "Not Found"}
    assert service.calls == []


async def test_the_request_id_goes_in_out_and_on_to_the_service(
    edge: EdgeProcess, service: FakeService
) -> None:
    for sent, kept in (("my.Id-1_2", True), ("x" * 128, True), ("x" * 129, False), ("a b", False)):
        reply = await edge.ask("/livekit/rooms", ("X-Request-Id", sent))
        assert (reply.header("x-request-id") == sent) == kept
        assert service.calls[-1].sent("x-request-id") == [reply.header("x-request-id")]


async def test_what_the_service_hears_of_a_credential(edge: EdgeProcess, service: FakeService) -> None:
    longest = "x" * 8192
    for headers, query, heard in (
        ([], "", []),
        ([("Authorization", "bearer a")], "?api_key=b", ["Bearer a"]),
        ([], "?api_key=b%2B", ["Bearer b+"]),
        ([("Authorization", "Basic abc")], "", ["Bearer"]),
        ([], "?api_key=", ["Bearer"]),
        ([("Authorization", f"Bearer {longest}")], "", [f"Bearer {longest}"]),
    ):
        for path in ("/livekit/rooms", "/livekit/rooms/a"):
            await edge.ask(path + query, *headers)
            assert service.calls[-1].sent("authorization") == heard
            assert service.calls[-1].request.HasField("tenant_id") is False
    heard_calls = len(service.calls)
    for refused in ("Bearer caf\u00e9", "Bearer a\tb", f"Bearer {longest}x"):
        reply = await edge.ask("/livekit/rooms", ("Authorization", refused))
        assert (reply.status, reply.json["error"]) == (401, "invalid_auth_header")
    reply = await edge.ask("/livekit/rooms", ("Authorization", "Bearer a"), ("Authorization", "Bearer b"))
    assert (reply.status, reply.header("www-authenticate")) == (401, "Bearer")
    assert len(service.calls) == heard_calls


async def test_a_credential_in_the_url_is_not_in_the_log(edge: EdgeProcess, service: FakeService) -> None:
    service.script.failure = Failure(grpc.StatusCode.INTERNAL, "LIVEKIT_FAILED")
    for target in ("/livekit/rooms", "/livekit/rooms/a", "/nowhere", "/livekit/rooms/%FF", "/docs"):
        await edge.ask(f"{target}?api_key=hunter2")
        await edge.ask(f"{target}?%61pi_key=hunter2", method="POST")

    async def are_recorded() -> bool:  # after the answers have left
        return edge.log.count('"event":"request"') >= 10

    await eventually(are_recorded)
    assert "hunter2" not in edge.log


async def test_failures_of_the_service_become_the_documented_answers(
    edge: EdgeProcess, service: FakeService
) -> None:
    for code, reason, status, error in (
        ("UNAUTHENTICATED", "CREDENTIAL_MISSING", 401, "missing_auth_header"),
        ("UNAUTHENTICATED", "CREDENTIAL_REJECTED", 401, "unauthorized"),
        ("PERMISSION_DENIED", "OPERATOR_ONLY", 403, "Only an operator may act for another tenant"),
        ("FAILED_PRECONDITION", "LIVEKIT_NOT_CONFIGURED", 500, "LiveKit service not configured"),
        ("UNAVAILABLE", "LIVEKIT_UNAVAILABLE", 500, "Failed to list rooms"),
        ("UNAUTHENTICATED", None, 500, "Failed to list rooms"),
        ("RESOURCE_EXHAUSTED", None, 503, "Service unavailable"),
        ("UNIMPLEMENTED", None, 503, "Service unavailable"),
    ):
        service.script.failure = Failure(grpc.StatusCode[code], reason)
        reply = await edge.ask("/livekit/rooms")
        assert (reply.status, reply.json["error"]) == (status, error)
        assert b"no caller" not in reply.body


async def test_masked_answers_are_alike_to_the_byte(edge: EdgeProcess, service: FakeService) -> None:
    request = b"GET /livekit/rooms/%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    def but_date_and_id(answer: bytes) -> list[bytes]:
        return [line for line in answer.split(b"\r\n") if not line.startswith((b"date:", b"x-request-id:"))]

    answers = [await edge.raw(request % name) for name in (b"absent", b"a%2Fb", b"x" * 200, b"%00")]
    assert len({tuple(but_date_and_id(answer)) for answer in answers}) == 1
    assert parse(answers[0]).json == NOT_FOUND


async def test_more_rooms_than_fit_into_one_page(edge: EdgeProcess, service: FakeService) -> None:
    service.script.rooms = summaries(100_001)
    reply = await edge.ask("/livekit/rooms")
    assert [room["name"] for room in reply.json["rooms"]] == [room.name for room in service.script.rooms]
    assert reply.header("content-length") == str(len(reply.body))
    requests = [call.request for call in service.calls]
    assert [(r.page_size, r.page_token) for r in requests if isinstance(r, pb.ListRoomsRequest)] == [
        (50_000, ""),
        (50_000, "50000"),
        (50_000, "100000"),
    ]
    assert all(call.seconds_left < 6 for call in service.calls)


async def test_a_caller_that_hangs_up_ends_its_call(edge: EdgeProcess, service: FakeService) -> None:
    service.script.hold = asyncio.Event()
    _, writer = await edge.connect()
    writer.write(b"GET /livekit/rooms HTTP/1.1\r\nHost: a\r\n\r\n")
    await service.script.arrived.wait()
    writer.close()
    await service.script.cancelled.wait()
    service.reset()
    assert (await edge.ask("/livekit/rooms")).status == 200
    assert "unexpected_error" not in edge.log


async def test_many_calls_at_once_each_get_their_own_answer(edge: EdgeProcess, service: FakeService) -> None:
    names = [f"room {number}" for number in range(200)]
    service.script.details = {name: pb.GetRoomResponse(room=pb.Room(name=name)) for name in names}

    async def one(name: str) -> Reply:
        return await edge.ask(f"/livekit/rooms/{name.replace(' ', '%20')}", ("X-Request-Id", name[5:]))

    replies = await asyncio.gather(*(one(name) for name in names))
    assert [(reply.json["name"], reply.header("x-request-id")) for reply in replies] == [
        (name, name[5:]) for name in names
    ]
