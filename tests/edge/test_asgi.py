"""What happens around Litestar: routing, sizes, methods, common headers, hang-ups, the last resort."""

import asyncio
import re
from typing import Any

import pytest
import structlog
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Receive, Scope, Send

from edge.admission import Admission
from edge.app import create_app
from edge.asgi import Edge
from edge.client_address import ClientAddresses
from edge.cors import Cors
from edge.settings import EdgeSettings
from tests.edge.asgi_calls import Exchange, ask, run, started
from tests.edge.fake_client import FakeClient

KNOWN = [
    b"/",
    b"/livekit/rooms",
    b"/livekit/rooms/a",
    b"/docs",
    b"/docs/openapi.json",
    b"/docs/assets/swagger-ui.css",
]
UNKNOWN = [
    b"/nowhere",
    b"/livekit/rooms/",
    b"/livekit/rooms/a/b",
    b"//livekit/rooms",
    b"*",
    b"/docs/assets/x.js",
]


async def test_a_room_name_reaches_the_service_exactly(app: Edge, client: FakeClient) -> None:
    for raw in (b"%2F", b"..", b"%2e%2e", b"a+b", b"%20a%20", b"%00", b"%2541", b"cafe%CC%81", b"-", b"%zz"):
        reply = await ask(app, b"/livekit/rooms/" + raw)
        assert reply.status == 200
        assert reply.json["name"] == client.names[-1]
    assert client.names == ["/", "..", "..", "a+b", " a ", "\0", "%41", "cafe\u0301", "-", "%zz"]


@pytest.mark.parametrize("raw", [b"%20", b"%09", b"x" * 257, b"%E2%80%80"])
async def test_a_name_is_judged_by_the_service_alone(app: Edge, client: FakeClient, raw: bytes) -> None:
    await ask(app, b"/livekit/rooms/" + raw)
    assert len(client.names) == 1


@pytest.mark.parametrize("target", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "BREW"])
async def test_an_unknown_route_is_a_json_404_for_every_method(
    app: Edge, client: FakeClient, target: bytes, method: str
) -> None:
    reply = await ask(app, target, method=method)
    assert reply.status == 404
    assert reply.header("content-type") == "application/json"
    assert reply.body == (b"" if method == "HEAD" else b'{"error":"Not Found"}')
    assert client.calls == []


async def test_a_path_that_is_not_utf8_is_a_400_before_anything_else(app: Edge, client: FakeClient) -> None:
    reply = await ask(app, b"/livekit/rooms/%FF", headers=[(b"authorization", b"Bearer a b")])
    assert (reply.status, reply.json) == (400, {"error": "Path is not valid UTF-8"})
    assert client.calls == []


@pytest.mark.parametrize("target", KNOWN)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "BREW"])
async def test_another_method_is_a_405_that_says_which_are_allowed(
    app: Edge, client: FakeClient, target: bytes, method: str
) -> None:
    reply = await ask(app, target, method=method)
    assert (reply.status, reply.json) == (405, {"error": "Method Not Allowed"})
    assert reply.header("allow") == "GET, HEAD, OPTIONS"
    assert client.calls == []


@pytest.mark.parametrize("target", KNOWN)
async def test_options_says_which_methods_are_allowed(app: Edge, client: FakeClient, target: bytes) -> None:
    reply = await ask(app, target, method="OPTIONS")
    assert (reply.status, reply.body) == (204, b"")
    assert reply.header("allow") == "GET, HEAD, OPTIONS"
    assert client.calls == []


@pytest.mark.parametrize("target", [*KNOWN, *UNKNOWN, b"/livekit/rooms?api_key=a&api_key=b", b"/%FF"])
async def test_head_is_get_without_the_body(app: Edge, target: bytes) -> None:
    head, get = await ask(app, target, method="HEAD"), await ask(app, target)
    assert head.body == b""
    assert get.body
    assert head.status == get.status
    by_request = {"x-request-id"}
    assert [pair for pair in head.headers if pair[0] not in by_request] == [
        pair for pair in get.headers if pair[0] not in by_request
    ]
    assert get.header("content-length") == str(len(get.body))


@pytest.mark.parametrize(
    "target", [*KNOWN, *UNKNOWN, b"/%FF", b"/" + b"x" * 9000, b"/livekit/rooms?api_key=%20"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
async def test_every_answer_is_not_to_be_stored_and_has_a_request_id(
    app: Edge, target: bytes, method: str
) -> None:
    reply = await ask(app, target, method=method)
    assert reply.header("cache-control") == "no-store"
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", reply.header("x-request-id") or "")
    sent = [(b"x-request-id", b"my.request-1")]
    assert (await ask(app, target, method=method, headers=sent)).header("x-request-id") == "my.request-1"


async def test_the_service_hears_the_request_id_that_the_caller_gets(app: Edge, client: FakeClient) -> None:
    for headers in ([], [(b"x-request-id", b"mine")], [(b"x-request-id", b"not well formed")]):
        for target in (b"/livekit/rooms", b"/livekit/rooms/a"):
            reply = await ask(app, target, headers=headers)
            assert client.calls[-1].metadata["x-request-id"] == reply.header("x-request-id")


async def test_sizes_up_to_the_limits_are_taken(app: Edge, client: FakeClient) -> None:
    prefix = b"/livekit/rooms/a?x="
    longest = prefix + b"x" * (8 * 1024 + 1 - len(prefix))  # the limit does not count the question mark
    assert (await ask(app, longest)).status == 200
    assert (await ask(app, longest + b"x")).status == 414
    room = 32 * 1024 - len(b"host: edge.test\r\n") - len(b"x: \r\n")
    assert (await ask(app, b"/livekit/rooms", headers=[(b"x", b"x" * room)])).status == 200
    assert (await ask(app, b"/livekit/rooms", headers=[(b"x", b"x" * (room + 1))])).status == 431
    assert (await ask(app, b"/livekit/rooms", body=[b"x" * 65_536])).status == 200
    assert (await ask(app, b"/livekit/rooms", body=[b"x" * 65_536, b"x"])).status == 413
    assert len(client.calls) == 3


@pytest.mark.parametrize(
    ("expected", "target", "headers"),
    [
        ((414, "Path and query too long"), b"/livekit/rooms/" + b"x" * 8192, []),
        ((414, "Path and query too long"), b"/nowhere?api_key=" + b"x" * 8192, []),
        ((431, "Request headers too large"), b"/livekit/rooms", [(b"x%d" % n, b"x") for n in range(5_000)]),
        ((413, "Request body too large"), b"/livekit/rooms", [(b"content-length", b"65537")]),
        ((413, "Request body too large"), b"/", [(b"content-length", b"9" * 5_000)]),
    ],
)
async def test_what_is_too_large_never_reaches_the_service(
    app: Edge,
    client: FakeClient,
    expected: tuple[int, str],
    target: bytes,
    headers: list[tuple[bytes, bytes]],
) -> None:
    reply = await ask(app, target, headers=headers)
    assert (reply.status, reply.json["error"]) == expected
    assert client.calls == []


async def test_the_limits_are_settings(client: FakeClient) -> None:
    settings = EdgeSettings.from_env(
        {
            "TENANTROOMS_EDGE_MAX_PATH_BYTES": "1024",
            "TENANTROOMS_EDGE_MAX_HEADER_BYTES": "1024",
            "TENANTROOMS_EDGE_MAX_BODY_BYTES": "0",
        }
    )
    async with started(create_app(settings, lambda: client)) as app:
        assert (await ask(app, b"/livekit/rooms/" + b"x" * 1010)).status == 414
        assert (await ask(app, b"/livekit/rooms", headers=[(b"x", b"x" * 1024)])).status == 431
        assert (await ask(app, b"/livekit/rooms", body=[b"x"])).status == 413
        assert (await ask(app, b"/livekit/rooms")).status == 200


async def test_a_body_within_the_limit_is_read_and_ignored(app: Edge, client: FakeClient) -> None:
    exchange = Exchange(b"/livekit/rooms", body=[b'{"rooms":', b"", b"1}"])
    await run(app, exchange)
    assert exchange.reply.json == {"rooms": []}
    assert exchange.body_was_read
    assert len(client.calls) == 1


async def test_a_body_that_does_not_end_is_a_408(client: FakeClient) -> None:
    settings = EdgeSettings.from_env({"TENANTROOMS_EDGE_HEADER_TIMEOUT_SECONDS": "0.1"})
    async with started(create_app(settings, lambda: client)) as app:
        before = asyncio.all_tasks()
        for target in KNOWN:
            exchange = Exchange(target, body=[b"x"], body_is_stuck=True)
            await run(app, exchange)
            assert (exchange.reply.status, exchange.reply.json) == (408, {"error": "Request Timeout"})
            assert exchange.reply.header("connection") == "close"
        assert asyncio.all_tasks() == before
    assert client.calls == []


async def test_a_host_that_is_none_is_a_400(app: Edge) -> None:
    exchange = Exchange(b"/")
    exchange.scope["headers"] = [(b"host", b"a b\xff")]
    await run(app, exchange)
    assert (exchange.reply.status, exchange.reply.json) == (400, {"error": "Bad request"})


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
@pytest.mark.parametrize("target", [b"/livekit/rooms", b"/livekit/rooms/a", b"/", b"/nowhere", b"/%FF"])
async def test_no_credential_is_left_in_the_query(app: Edge, target: bytes, method: str) -> None:
    exchange = Exchange(target + b"?x=1&api_key=hunter2&%61pi_key=hunter2", method=method)
    await run(app, exchange)
    assert exchange.scope["query_string"] == b"x=1"


async def test_a_caller_that_hangs_up_ends_its_call(app: Edge, client: FakeClient) -> None:
    client.hang = True
    exchange = Exchange(b"/livekit/rooms")
    work = asyncio.create_task(run(app, exchange))
    await client.called.wait()
    exchange.hang_up()
    await work
    assert client.cancelled.is_set()
    assert exchange.sent == []


async def test_a_body_that_breaks_off_never_reaches_the_service_and_is_refused_if_anybody_is_there(
    app: Edge, client: FakeClient
) -> None:
    exchange = Exchange(b"/livekit/rooms", body=[b"x", b"y"])
    exchange.hang_up()
    await run(app, exchange)
    assert exchange.sent[0]["status"] == 400
    assert client.calls == []


async def test_being_cancelled_by_others_is_not_taken_for_a_caller_that_is_gone(
    app: Edge, client: FakeClient
) -> None:
    client.hang = True
    work = asyncio.create_task(run(app, Exchange(b"/livekit/rooms")))
    await client.called.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert client.cancelled.is_set()


@pytest.mark.parametrize("server_tells", [True, False])
async def test_nothing_is_left_running_after_an_answer(app: Edge, server_tells: bool) -> None:
    before = asyncio.all_tasks()
    for target in (*KNOWN, b"/docs/assets/swagger-ui-bundle.js"):
        exchange = Exchange(target, tells_the_end=server_tells)
        await run(app, exchange)
        assert exchange.reply.status == 200
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_the_client_is_open_during_the_lifespan_only(client: FakeClient) -> None:
    app = create_app(EdgeSettings(), lambda: client)
    seen = [client.is_open]
    async with started(app):
        seen.append(client.is_open)
    seen.append(client.is_open)
    assert seen == [False, True, False]


@pytest.mark.parametrize("target", [b"/livekit/rooms", b"/livekit/rooms/a"])
async def test_an_error_that_nobody_foresaw_is_a_constant_500_and_is_logged_without_its_text(
    app: Edge, client: FakeClient, target: bytes
) -> None:
    client.failure = RuntimeError("hunter2")
    with structlog.testing.capture_logs() as log:
        reply = await ask(app, target + b"?api_key=hunter2")
    assert (reply.status, reply.json) == (500, {"error": "Internal server error"})
    assert reply.header("cache-control") == "no-store"
    record, ended = log
    assert (ended["event"], ended["status"]) == ("request", 500)
    assert (record["event"], record["error"]) == ("unexpected_error", "RuntimeError")
    assert record["request_id"] == reply.header("x-request-id")
    assert "fake_client.py" in record["at"][-1]
    assert "hunter2" not in repr(log)


async def test_a_process_that_is_about_to_end_sends_clients_to_another_connection(client: FakeClient) -> None:
    leaves = False
    async with started(create_app(EdgeSettings(), lambda: client, leaves=lambda: leaves)) as app:
        assert (await ask(app, b"/")).header("connection") is None
        leaves = True
        for target in (b"/", b"/unknown"):
            assert (await ask(app, target)).header("connection") == "close"


def around(inner: ASGIApp) -> Edge:
    settings = EdgeSettings()
    admission = Admission(settings.call_limits, ClientAddresses((), "x-forwarded-for"))
    return Edge(
        inner,
        assets=(),
        limits=settings.limits,
        cors=Cors(()),
        admission=admission,
    )


async def test_what_all_answers_carry_replaces_what_one_answer_says() -> None:
    async def cached(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"Cache-Control": "public, max-age=60", "X-Request-Id": "mine", "X-Other": "kept"}
        await ASGIResponse(body=b"{}", headers=headers)(scope, receive, send)

    reply = await ask(around(cached), b"/")
    assert reply.header("cache-control") == "no-store"
    assert reply.header("x-request-id") not in {None, "mine"}
    assert reply.header("x-other") == "kept"


async def test_what_escapes_litestar_is_a_json_500_too() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("hunter2")

    app = around(broken)
    with structlog.testing.capture_logs() as log:
        reply = await ask(app, b"/livekit/rooms")
    assert (reply.status, reply.json) == (500, {"error": "Internal server error"})
    assert reply.header("content-type") == "application/json"
    assert reply.header("cache-control") == "no-store"
    assert "hunter2" not in repr(log)


REFUSALS = [
    (b"/" + b"a" * 20_000, {}, 414, "PATH_TOO_LONG"),
    (b"/livekit/rooms/%FF", {}, 400, "PATH_NOT_UTF8"),
    (b"/nowhere", {}, 404, "ROUTE_UNKNOWN"),
    (b"/livekit/rooms", {"method": "POST"}, 405, "METHOD_NOT_ALLOWED"),
    (b"/livekit/rooms", {"headers": [(b"x", b"a" * 40_000)]}, 431, "HEADERS_TOO_LARGE"),
    (b"/livekit/rooms", {"headers": [(b"content-length", b"9" * 12)]}, 413, "BODY_TOO_LARGE"),
    (b"/livekit/rooms", {"headers": [(b"authorization", b"Bearer a b")]}, 401, "CREDENTIAL_MALFORMED"),
    (b"/readyz", {}, 503, "NOT_READY"),
]


@pytest.mark.parametrize(("target", "how", "status", "reason"), REFUSALS, ids=[each[3] for each in REFUSALS])
async def test_the_record_of_what_the_edge_itself_refuses_says_why(
    app: Edge, target: bytes, how: dict[str, Any], status: int, reason: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        assert (await ask(app, target, **how)).status == status
    (record,) = logs
    assert (record["status"], record["reason"]) == (status, reason)
    assert "code" not in record  # the service was not asked


async def test_the_record_of_a_request_that_failed_by_a_fault_of_the_edge_says_so() -> None:
    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError

    with structlog.testing.capture_logs() as logs:
        assert (await ask(around(broken), b"/livekit/rooms")).status == 500
    assert logs[-1]["reason"] == "UNEXPECTED"


async def test_the_record_of_a_request_that_goes_well_has_no_reason(app: Edge) -> None:
    with structlog.testing.capture_logs() as logs:
        await ask(app, b"/livekit/rooms")
        await ask(app, b"/livekit/rooms", method="OPTIONS")
    assert [("reason" in record, record["status"]) for record in logs] == [(False, 200), (False, 204)]
