"""The callers check what they get, wait for what they asked, and count what went wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from benchmarks.callers import Checked, Failed, HttpConnection, Job, measure
from benchmarks.layout import CREATED
from benchmarks.plan import Protocol
from benchmarks.requests import PARTICIPANTS, Request

REQUEST = Request("token", ("a",))
RIGHT = b'{"rooms":[{"name":"a","num_participants":%d,"creation_time":%d}]}' % (PARTICIPANTS, CREATED)


def job(*, patience: float = 5.0) -> Job:
    return Job(
        Protocol.REST, "127.0.0.1:1", [REQUEST], callers=2, seconds=0.05, warm_up=0.0,
        patience=patience,
    )  # fmt: skip


def answering(body: bytes) -> Callable[[Request], Awaitable[bytes]]:
    async def call(_: Request) -> bytes:
        await asyncio.sleep(0.001)
        return body

    return call


async def refuse(_: Request) -> bytes:
    raise Failed("HTTP/1.1 500")


async def never(_: Request) -> bytes:
    await asyncio.Event().wait()
    return b""


def test_a_job_survives_the_way_to_another_process() -> None:
    assert Job.from_json(job(patience=0.5).to_json()) == job(patience=0.5)


async def test_right_answers_are_counted_and_timed() -> None:
    outcome = await measure(job(), [answering(RIGHT)] * 2, Checked(Protocol.REST), 0.05)
    assert outcome.is_clean
    assert outcome.answers > 2
    assert 0.001 <= outcome.p50 <= outcome.p99


@pytest.mark.parametrize("body", [b"", b"[]", b'{"rooms":[]}', RIGHT.replace(b'"a"', b'"b"')])
async def test_a_wrong_answer_is_no_answer(body: bytes) -> None:
    outcome = await measure(job(), [answering(body)], Checked(Protocol.REST), 0.01)
    assert (outcome.answers, outcome.is_clean) == (0, False)
    assert outcome.wrong > 0
    assert "wrong answer" in outcome.problem


async def test_an_answer_that_turns_wrong_later_is_found() -> None:
    checked = Checked(Protocol.REST)
    assert checked.is_right(REQUEST, RIGHT)
    assert checked.is_right(REQUEST, RIGHT)
    assert not checked.is_right(REQUEST, RIGHT.replace(b'"a"', b'"b"'))
    assert not checked.is_right(Request("token", ("b",)), RIGHT)


async def test_failures_are_counted_and_the_first_is_told() -> None:
    outcome = await measure(job(), [answering(RIGHT), refuse], Checked(Protocol.REST), 0.03)
    assert outcome.answers > 0
    assert outcome.failed > 0
    assert outcome.problem == "HTTP/1.1 500"


async def test_calls_without_an_answer_are_given_up_and_counted() -> None:
    outcome = await measure(job(patience=0.02), [answering(RIGHT), never], Checked(Protocol.REST), 0.01)
    assert outcome.unanswered == 1
    assert not outcome.is_clean


async def test_what_was_started_in_time_is_waited_for() -> None:
    release = asyncio.Event()

    async def late(_: Request) -> bytes:
        await release.wait()
        return RIGHT

    asyncio.get_running_loop().call_later(0.05, release.set)
    outcome = await measure(job(), [late], Checked(Protocol.REST), 0.01)
    assert (outcome.answers, outcome.is_clean) == (1, True)


@asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[HttpConnection]:
    """A connection to a server that gives these answers, one to each request, and then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        connection = HttpConnection(Protocol.REST, f"127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        try:
            yield connection
        finally:
            connection.close()


async def test_a_connection_is_kept_and_the_whole_body_is_read() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhello"
    async with server(answer, answer) as connection:
        assert await connection.call(REQUEST) == b"hello"
        assert await connection.call(REQUEST) == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"",
    ],
)
async def test_anything_but_a_whole_200_is_a_failure(answer: bytes) -> None:
    async with server(answer) as connection:
        with pytest.raises(Failed):
            await connection.call(REQUEST)
