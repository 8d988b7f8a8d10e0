"""One HTTP connection against a server that sends any bytes: a whole answer or one error, and never two."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import cast

import httptools
import pytest

from service.errors import DomainError, LiveKitAnswerTooLarge, LiveKitFailed, LiveKitUnavailable
from service.http_connection import HttpConnection
from service.livekit_transport import MOST_CONNECTIONS, HttpTransport, open_transport
from service.upstream_http import Trust, trusting

CAP = 1_000
OK = b"HTTP/1.1 200 OK\r\nContent-Type: Application/Protobuf; a=b\r\n"
WHOLE = OK + b"Content-Length: 2\r\n\r\nok"
MARKED = WHOLE.replace(b"\r\n", b"\r\nAccess-Control-Allow-Origin: MARK\r\n", 1)
"""Bears the mark of its request, as `MARK` stands for it."""

Script = Callable[[int], bytes]
"""What the server sends to its n-th request, counted over all connections from 0."""


class Server:
    """What a script server saw: the requests, and on which connection each came, by number."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections: list[int] = []
        self.writers: list[asyncio.StreamWriter] = []


@asynccontextmanager
async def serving(
    script: Script, trust: Trust | None = None, hold: Callable[[], Awaitable[object]] | None = None
) -> AsyncIterator[tuple[HttpTransport, Server]]:
    seen = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(seen.writers)
        seen.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                seen.requests.append(head + await reader.readexactly(length))
                seen.connections.append(number)
                if hold is not None:
                    await hold()
                mark = head.partition(b"Origin: ")[2].partition(b"\r\n")[0]
                answer = script(len(seen.requests) - 1).replace(b"MARK", mark)
                writer.write(answer)
                if answer.endswith(b"END"):
                    writer.write_eof()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with open_transport(f"http://127.0.0.1:{port}", 10, CAP, trust) as transport:
            yield transport, seen
    finally:
        server.close()


async def test_an_answer_is_gone_with_whoever_asked_and_does_not_wait_for_the_garbage_collector() -> None:
    broken = OK + b"Content-Length: 9\r\n\r\nokEND"
    async with serving(lambda number: broken if number == 1 else WHOLE) as (transport, _):
        gc.collect()
        gc.disable()
        try:
            await transport.post("ListRooms", "token", b"")
            with pytest.raises(LiveKitFailed):
                await transport.post("ListRooms", "token", b"")
            parsers = [one for one in gc.get_objects() if isinstance(one, httptools.HttpResponseParser)]
            assert parsers == []
        finally:
            gc.enable()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.001)


async def test_a_request_is_http_of_its_own_making() -> None:
    async with serving(lambda _: WHOLE) as (transport, seen):
        await transport.post("ListRooms", "token", b"body")
    (request,) = seen.requests
    line, *headers = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert line == b"POST /twirp/livekit.RoomService/ListRooms HTTP/1.1"
    assert b"Authorization: Bearer token" in headers
    assert b"Content-Length: 4" in headers
    assert request.endswith(b"\r\n\r\nbody")


WHOLE_ANSWERS = {
    "with its length": WHOLE,
    "in chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
    "with a trailer": OK
    + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Encoding: gzip\r\n\r\n",
    "after an interim one": b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/html\r\n\r\n" + WHOLE,
}


@pytest.mark.parametrize("answer", WHOLE_ANSWERS.values(), ids=WHOLE_ANSWERS)
async def test_a_whole_answer_is_read_and_the_connection_used_again(answer: bytes) -> None:
    async with serving(lambda _: answer) as (transport, seen):
        for _ in range(2):
            got = await transport.post("ListRooms", "token", b"")
            assert (got.status, got.media_type, got.body) == (200, "application/protobuf", b"ok")
    assert seen.connections == [0, 0]


BROKEN_ANSWERS: dict[str, tuple[bytes, type[DomainError]]] = {
    "without a length, as its end could be anywhere": (OK + b"\r\nokEND", LiveKitFailed),
    "with two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", LiveKitFailed),
    "with a length and chunks": (
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        LiveKitFailed,
    ),
    "with an absurd length": (OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\nok", LiveKitFailed),
    "of another protocol": (b"SSH-2.0-token\r\n", LiveKitFailed),
    "of chunks over the cap": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"200\r\n%b\r\n" % bytes(512) * 2,
        LiveKitAnswerTooLarge,
    ),
    "with a head without end": (OK + b"X: " + b"x" * 200_000, LiveKitAnswerTooLarge),
    "with trailers without end": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 200_000,
        LiveKitAnswerTooLarge,
    ),
    "that goes over to another protocol": (
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        LiveKitFailed,
    ),
    "that ends within its head": (b"HTTP/1.1 200 OK\r\nContEND", LiveKitUnavailable),
}


@pytest.mark.parametrize(("answer", "failure"), BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS)
async def test_a_broken_answer_is_one_failure_and_its_connection_is_not_used_again(
    answer: bytes, failure: type[DomainError]
) -> None:
    async with serving(lambda number: WHOLE if number else answer) as (transport, seen):
        with pytest.raises(DomainError) as raised:
            await transport.post("ListRooms", "token", b"")
        assert type(raised.value) is failure
        assert "token" not in str(raised.value)
        assert (await transport.post("ListRooms", "token", b"")).body == b"ok"
    assert seen.connections == [0, 1]


LAST_ANSWERS = {
    "says so": OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    "is of HTTP/1.0": WHOLE.replace(b"1.1", b"1.0"),
    "is followed by another": WHOLE + WHOLE.replace(b"ok", b"no"),
    "is followed by a part of another": WHOLE + b"HTTP",
    "is followed by rubbish": WHOLE + b"\xff",
}


@pytest.mark.parametrize("answer", LAST_ANSWERS.values(), ids=LAST_ANSWERS)
async def test_a_connection_is_not_used_again_after_an_answer_that(answer: bytes) -> None:
    async with serving(lambda _: answer) as (transport, seen):
        for _ in range(2):
            assert (await transport.post("ListRooms", "token", b"")).body == b"ok"
    assert seen.connections == [0, 1]


async def test_an_answer_that_nobody_asked_for_answers_nobody() -> None:
    async with serving(lambda _: WHOLE) as (transport, seen):
        await transport.post("ListRooms", "token", b"")
        ((connection, _),) = transport._idle
        seen.writers[0].write(WHOLE.replace(b"ok", b"no"))
        await until(lambda: not connection.usable)
        assert (await transport.post("ListRooms", "token", b"")).body == b"ok"
    assert seen.connections == [0, 1]


async def test_an_answer_to_another_question_is_no_answer_and_its_connection_not_used_again() -> None:
    foreign = MARKED.replace(b"MARK", b"http://1-other.tenantrooms.invalid")
    async with serving(lambda number: foreign if number == 0 else MARKED) as (transport, seen):
        with pytest.raises(LiveKitUnavailable, match="another question"):
            await transport.post("ListRooms", "token", b"")
        assert (await transport.post("ListRooms", "token", b"")).body == b"ok"
    assert seen.connections == [0, 1]


async def test_an_answer_with_its_own_mark_and_anothers_is_no_answer() -> None:
    both = MARKED.replace(
        b"\r\n", b"\r\nAccess-Control-Allow-Origin: http://1-other.tenantrooms.invalid\r\n", 1
    )
    async with serving(lambda _: both) as (transport, _):
        with pytest.raises(LiveKitUnavailable, match="another question"):
            await transport.post("ListRooms", "token", b"")


async def test_the_mark_of_an_interim_answer_does_not_count_for_the_answer() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nAccess-Control-Allow-Origin: MARK\r\n\r\n"
    async with serving(lambda number: interim + WHOLE if number else MARKED) as (transport, _):
        await transport.post("ListRooms", "token", b"")
        with pytest.raises(LiveKitUnavailable, match="another question"):
            await transport.post("ListRooms", "token", b"")


async def test_every_request_has_a_mark_of_its_own() -> None:
    async with serving(lambda _: MARKED) as (transport, seen):
        for _ in range(3):
            await transport.post("ListRooms", "token", b"")
    marks = {request.partition(b"Origin: ")[2].partition(b"\r\n")[0] for request in seen.requests}
    assert len(marks) == 3
    assert all(mark.startswith(b"http://") and mark.endswith(b".tenantrooms.invalid") for mark in marks)


@pytest.mark.parametrize("status", [HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.BAD_GATEWAY])
async def test_where_answers_bore_marks_one_without_is_believed_only_as_a_failure(status: HTTPStatus) -> None:
    without = WHOLE.replace(b"200", b"%d" % status)
    async with serving(lambda number: without if number == 1 else MARKED) as (transport, seen):
        await transport.post("ListParticipants", "token", b"")
        if status is HTTPStatus.BAD_GATEWAY:
            assert (await transport.post("ListParticipants", "token", b"")).status == status
        else:
            with pytest.raises(LiveKitUnavailable, match="another question"):
                await transport.post("ListParticipants", "token", b"")
        assert (await transport.post("ListParticipants", "token", b"")).body == b"ok"
    assert seen.connections == ([0, 0, 0] if status is HTTPStatus.BAD_GATEWAY else [0, 0, 1])


async def test_without_marks_participants_are_asked_for_on_new_connections_only() -> None:
    async with serving(lambda _: WHOLE) as (transport, seen):
        for method in ("ListRooms", "ListParticipants", "ListParticipants", "ListRooms"):
            await transport.post(method, "token", b"")
        assert len(transport._open) == 1
    assert seen.connections == [0, 1, 2, 0]


async def test_a_new_connection_takes_the_place_of_an_idle_one_where_all_places_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.livekit_transport.MOST_CONNECTIONS", 1)
    async with serving(lambda _: WHOLE) as (transport, seen):
        for method in ("ListRooms", "ListParticipants", "ListRooms"):
            await transport.post(method, "token", b"")
            assert len(transport._open) <= 1
    assert seen.connections == [0, 1, 2]


class Bare:
    """A transport of which a connection sees only what the test does."""

    def __init__(self) -> None:
        self.socket, self.other = socket.socketpair()
        self.ends = self.aborted = False

    def get_extra_info(self, _: str) -> socket.socket:
        return self.socket

    def is_closing(self) -> bool:
        return self.ends

    def write(self, _: bytes) -> None:
        pass

    def abort(self) -> None:
        self.ends = self.aborted = True


@pytest.fixture
def bare() -> Iterator[Bare]:
    transport = Bare()
    yield transport
    transport.socket.close()
    transport.other.close()


async def answered(bare: Bare, then: Callable[[HttpConnection], object]) -> HttpConnection:
    """A connection on which this happened after an answer was whole, and before who asked went on."""
    connection = HttpConnection(CAP)
    connection.connection_made(cast("asyncio.Transport", bare))
    asking = asyncio.create_task(connection.exchange(b"", b"mark"))
    await asyncio.sleep(0)
    connection.data_received(WHOLE)
    then(connection)
    assert (await asking).body == b"ok"
    return connection


async def test_a_connection_is_quiet_after_a_whole_answer(bare: Bare) -> None:
    assert (await answered(bare, lambda _: None)).quiet


@pytest.mark.parametrize("surplus", [b"\r\n", b"H", WHOLE])
async def test_what_comes_before_who_asked_goes_on_ends_the_connection(bare: Bare, surplus: bytes) -> None:
    connection = await answered(bare, lambda connection: connection.data_received(surplus))
    assert bare.aborted
    assert not connection.usable
    assert not connection.quiet


async def test_a_connection_that_ends_before_who_asked_goes_on_is_not_usable(bare: Bare) -> None:
    connection = await answered(bare, lambda connection: connection.connection_lost(None))
    assert not connection.usable


async def test_a_connection_that_is_closing_when_who_asked_goes_on_is_not_usable(bare: Bare) -> None:
    connection = await answered(bare, lambda _: setattr(bare, "ends", True))
    assert not connection.usable


async def test_a_connection_that_is_closing_later_is_not_quiet(bare: Bare) -> None:
    connection = await answered(bare, lambda _: None)
    bare.ends = True
    assert not connection.quiet


@pytest.mark.parametrize("what", ["a byte", "its end"])
async def test_a_connection_on_which_something_waits_is_not_quiet(bare: Bare, what: str) -> None:
    connection = await answered(bare, lambda _: None)
    if what == "a byte":
        bare.other.send(b"H")
    else:
        bare.other.close()
    assert connection.usable  # as nothing has read it
    assert not connection.quiet


async def test_a_connection_is_not_used_after_what_is_trusted_has_changed() -> None:
    trust = Trust(trusting(None))
    async with serving(lambda _: WHOLE, trust) as (transport, seen):
        await transport.post("ListRooms", "token", b"")
        trust.context = trusting(None)
        await transport.post("ListRooms", "token", b"")
        await transport.post("ListRooms", "token", b"")
    assert seen.connections == [0, 1, 1]


async def test_there_are_never_more_connections_than_are_allowed() -> None:
    release = asyncio.Event()
    async with serving(lambda _: WHOLE, hold=release.wait) as (transport, seen):
        calls = [
            asyncio.create_task(transport.post("ListRooms", "token", b""))
            for _ in range(MOST_CONNECTIONS + 8)
        ]
        await until(lambda: len(seen.requests) >= MOST_CONNECTIONS)
        assert len(seen.writers) == MOST_CONNECTIONS
        release.set()
        await asyncio.gather(*calls)
    assert len(seen.requests) == MOST_CONNECTIONS + 8
    assert len(seen.writers) == MOST_CONNECTIONS


async def test_a_call_that_was_cancelled_leaves_its_place_to_others() -> None:
    release = asyncio.Event()
    async with serving(lambda _: WHOLE, hold=release.wait) as (transport, seen):
        most = range(MOST_CONNECTIONS)
        calls = [asyncio.create_task(transport.post("ListRooms", "token", b"")) for _ in most]
        await until(lambda: len(seen.requests) >= MOST_CONNECTIONS)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        release.set()
        assert (await transport.post("ListRooms", "token", b"")).body == b"ok"
        assert len(transport._open) == 1


async def test_idle_connections_are_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.livekit_transport.IDLE_CONNECTION_SECONDS", 0.01)
    async with serving(lambda _: WHOLE) as (transport, seen):
        await transport.post("ListRooms", "token", b"")
        await until(lambda: not transport._open)
        await transport.post("ListRooms", "token", b"")
    assert seen.connections == [0, 1]
