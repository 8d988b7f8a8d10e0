"""The HTTP connection to LiveKit against a scripted one: each fault is one error, never part of an answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sized
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from service.errors import (
    DomainError,
    LiveKitAnswerTooLarge,
    LiveKitFailed,
    LiveKitRefused,
    LiveKitTimedOut,
    LiveKitUnavailable,
)
from service.livekit import LiveKit
from service.livekit_tokens import AccessTokens
from service.livekit_transport import HttpTransport, open_transport
from tests.service.recorded_rooms import rooms_in
from tests.support.certificates import self_signed
from tests.support.livekit_calls import Fault
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import Hang, Mutate, PlainText, RawBody, TwirpError, html_page
from tests.support.livekit_wire_faults import EndlessBody, GzipBomb, Reset, Trickle, Truncate
from tools.ports import free_tcp_port

CAP = 64 * 1024
CANARY = "canary-from-upstream"


def livekit_over(transport: HttpTransport, double: LiveKitDouble) -> LiveKit:
    return LiveKit(transport, AccessTokens(double.api_key, double.api_secret))


@pytest.fixture
async def transport(livekit_double: LiveKitDouble) -> AsyncIterator[HttpTransport]:
    async with open_transport(livekit_double.url, 10, CAP) as opened:
        yield opened


@pytest.fixture
def livekit(transport: HttpTransport, livekit_double: LiveKitDouble) -> LiveKit:
    livekit_double.put_room("a", owner="acme")
    livekit_double.put_room("b", owner="globex")
    livekit_double.put_participant("a", "somebody")
    return livekit_over(transport, livekit_double)


async def test_calls_carry_what_livekit_asks_for_and_share_a_connection(
    livekit: LiveKit, livekit_double: LiveKitDouble
) -> None:
    assert sorted(room.name for room in rooms_in(await livekit.list_all_rooms())) == ["a", "b"]
    (a,) = rooms_in(await livekit.list_rooms_named(["a", "absent"]))
    assert a.name == "a"
    assert [person.identity for person in await livekit.list_participants("a")] == ["somebody"]
    assert await livekit.list_participants("absent") == []
    calls = livekit_double.requests
    assert [call.method for call in calls] == ["ListRooms"] * 2 + ["ListParticipants"] * 2
    assert [call.names for call in calls[:2]] == [[], ["a", "absent"]]
    assert [call.grants for call in calls] == [
        {"roomList": True},
        {"roomList": True},
        {"roomAdmin": True, "room": "a"},
        {"roomAdmin": True, "room": "absent"},
    ]
    for call in calls:
        assert call.headers.getall("Content-Type") == ["application/protobuf"]
        assert call.headers.getall("Accept-Encoding") == ["identity"]
        assert "Cookie" not in call.headers
    assert len({call.connection for call in calls}) == 1


def encoded(name: str) -> RawBody:
    return RawBody(b"", headers={"Content-Encoding": name})


# MATRIX U1 to U6; a fault without a time to it.
FAULTS: dict[str, tuple[Fault, type[DomainError]]] = {
    "reset before an answer": (Reset(share=None), LiveKitUnavailable),
    "reset in mid-answer": (Reset(), LiveKitFailed),
    "an answer that breaks off": (Truncate(), LiveKitFailed),
    "an answer without its last byte": (Truncate(share=0.99), LiveKitFailed),
    "an answer without a byte": (Truncate(share=0), LiveKitFailed),
    "no protobuf": (RawBody(b"\xff" + CANARY.encode()), LiveKitFailed),
    "protobuf cut short": (Mutate(lambda body: body[:-1]), LiveKitFailed),
    "a page with 200": (html_page(), LiveKitFailed),
    "a page with 502": (html_page(502), LiveKitUnavailable),
    "a Twirp internal error": (TwirpError("internal", CANARY), LiveKitFailed),
    "a Twirp unavailable error": (TwirpError("unavailable", CANARY), LiveKitUnavailable),
    "401 in text": (PlainText(401, CANARY), LiveKitRefused),
    "401 from Twirp": (TwirpError("unauthenticated", CANARY), LiveKitRefused),
    "413 in text": (PlainText(413, CANARY), LiveKitFailed),
    "an endless body": (EndlessBody(), LiveKitAnswerTooLarge),
    "a declared size over the cap": (RawBody(bytes(CAP + 1)), LiveKitAnswerTooLarge),
    "a bomb": (GzipBomb(2**24), LiveKitFailed),
    "gzip": (encoded("gzip"), LiveKitFailed),
    "br": (encoded("br"), LiveKitFailed),
    "an encoding nobody knows": (encoded("canary"), LiveKitFailed),
    "301": (PlainText(301, CANARY), LiveKitFailed),
}


@pytest.mark.parametrize(("fault", "failure"), FAULTS.values(), ids=FAULTS)
async def test_each_fault_is_one_failure_and_the_next_call_is_well(
    livekit: LiveKit, livekit_double: LiveKitDouble, fault: Fault, failure: type[DomainError]
) -> None:
    questions: dict[str, tuple[Callable[[], Awaitable[Sized]], ...]] = {
        "ListRooms": (livekit.list_all_rooms, lambda: livekit.list_rooms_named(["a"])),
        "ListParticipants": (lambda: livekit.list_participants("a"),),
    }
    for method, asks in questions.items():
        for ask in asks:
            livekit_double.script(method, fault)
            with pytest.raises(DomainError) as raised:
                await ask()
            assert type(raised.value) is failure
            assert CANARY not in raised.value.text
            assert len(await ask()) >= 1
    assert len(livekit_double.requests) == 6  # one call each: nothing is tried again


async def test_an_endless_answer_is_left_at_the_cap(livekit: LiveKit, livekit_double: LiveKitDouble) -> None:
    livekit_double.script("ListRooms", EndlessBody(limit=2**40))
    with pytest.raises(LiveKitFailed, match="TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES"):
        await livekit.list_all_rooms()
    call = await livekit_double.next_request()
    await call.finished()
    assert call.aborted


@pytest.mark.parametrize(("size", "fits"), [(CAP, True), (CAP + 1, False)])
async def test_the_cap_is_exact(
    transport: HttpTransport, livekit_double: LiveKitDouble, size: int, fits: bool
) -> None:
    livekit_double.script("ListRooms", RawBody(bytes(size)))
    if fits:
        assert (await transport.post("ListRooms", "token", b"")).body == bytes(size)
    else:
        with pytest.raises(LiveKitFailed):
            await transport.post("ListRooms", "token", b"")


@pytest.mark.parametrize("fault", [Hang(), Trickle(seconds_per_byte=0.05)])
async def test_one_deadline_spans_the_whole_answer(livekit_double: LiveKitDouble, fault: Fault) -> None:
    livekit_double.put_room("a")
    livekit_double.script("ListRooms", fault)
    async with open_transport(livekit_double.url, 0.2, CAP) as transport:
        with pytest.raises(LiveKitTimedOut):
            await livekit_over(transport, livekit_double).list_all_rooms()
    call = await livekit_double.next_request()
    await call.finished()
    assert call.aborted


async def test_a_call_that_nobody_waits_for_is_aborted(
    livekit: LiveKit, livekit_double: LiveKitDouble
) -> None:
    held = livekit_double.hold("ListRooms")
    asking = asyncio.create_task(livekit.list_all_rooms())
    await held.reached()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    call = await livekit_double.next_request()
    await call.finished()
    assert call.aborted


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(
    livekit: LiveKit, livekit_double: LiveKitDouble, status: int
) -> None:
    async with LiveKitDouble() as elsewhere:
        location = f"{elsewhere.url}/twirp/livekit.RoomService/ListRooms"
        livekit_double.script("ListRooms", RawBody(b"", status, headers={"Location": location}))
        with pytest.raises(LiveKitFailed):
            await livekit.list_all_rooms()
        assert elsewhere.requests == []


async def test_a_proxy_in_the_environment_gets_no_token(
    livekit_double: LiveKitDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with LiveKitDouble() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with open_transport(livekit_double.url, 10, CAP) as transport:
            await livekit_over(transport, livekit_double).list_all_rooms()
        assert (len(livekit_double.requests), len(proxy.requests)) == (1, 0)


async def test_a_cookie_is_not_sent_back(transport: HttpTransport, livekit_double: LiveKitDouble) -> None:
    livekit_double.script("ListRooms", RawBody(b"", headers={"Set-Cookie": "session=1"}))
    await transport.post("ListRooms", "token", b"")
    await transport.post("ListRooms", "token", b"")
    assert "Cookie" not in livekit_double.requests[1].headers


UNREACHABLE = {
    "nobody listens": lambda: f"http://127.0.0.1:{free_tcp_port()}",
    "no such host": lambda: "http://livekit.invalid:7880",
}


@pytest.mark.parametrize("address", UNREACHABLE.values(), ids=UNREACHABLE)
async def test_a_livekit_that_is_not_there_is_unavailable(address: Callable[[], str]) -> None:  # MATRIX U1
    async with open_transport(address(), 10, CAP) as transport:
        with pytest.raises(LiveKitUnavailable):
            await transport.post("ListRooms", "token", b"")


@pytest.mark.parametrize("expired", [False, True])
async def test_a_certificate_that_nobody_vouches_for_ends_it_before_the_token(
    tmp_path: Path, expired: bool
) -> None:  # MATRIX U9
    async with LiveKitDouble(tls=self_signed(tmp_path, expired=expired).server_context()) as double:
        async with open_transport(double.url, 10, CAP) as transport:
            with pytest.raises(LiveKitUnavailable):
                await livekit_over(transport, double).list_all_rooms()
        assert double.requests == []


async def test_it_comes_back_by_itself(livekit: LiveKit, livekit_double: LiveKitDouble) -> None:  # MATRIX P3
    await livekit.list_all_rooms()
    await livekit_double.stop()
    with pytest.raises(LiveKitUnavailable):
        await livekit.list_all_rooms()
    await livekit_double.start()
    assert len(await livekit.list_all_rooms()) == 2


async def test_a_path_in_front_of_the_service_is_kept() -> None:
    paths = []

    async def serve(request: web.BaseRequest) -> web.Response:
        paths.append(request.path)
        return web.Response(content_type="application/protobuf")

    async with (
        RawTestServer(serve) as server,
        open_transport(str(server.make_url("/lk")), 10, CAP) as transport,
    ):
        await transport.post("ListRooms", "token", b"")
    assert paths == ["/lk/twirp/livekit.RoomService/ListRooms"]
