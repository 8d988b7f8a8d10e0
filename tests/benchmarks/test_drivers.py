"""wrk holds every answer against the right one. Needs wrk, which `make bench` asks for."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from benchmarks.callers import Job
from benchmarks.drivers import CallersProcess, DriverError, collect_bodies, run_wrk, wrk_binary
from benchmarks.layout import CREATED
from benchmarks.plan import Protocol
from benchmarks.requests import PARTICIPANTS, Request

REQUESTS = [Request("token-a", ("a",)), Request("token-b", ("b",))]


def body_for(name: str) -> bytes:
    return b'{"rooms":[{"name":"%b","num_participants":%d,"creation_time":%d}]}' % (
        name.encode(), PARTICIPANTS, CREATED,
    )  # fmt: skip


RIGHT = {f"Bearer token-{name}": body_for(name) for name in "ab"}


@pytest.fixture
def wrk() -> Path:
    found = wrk_binary()
    if found is None:
        pytest.skip("there is no wrk on PATH")
    return found


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[Job]:
    """A job for callers of this handler."""
    application = web.Application()
    application.router.add_get("/livekit/rooms", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield Job(Protocol.REST, f"{host}:{port}", REQUESTS, callers=4, seconds=0.1, warm_up=0.0)
    finally:
        await runner.cleanup()


async def right(request: web.Request) -> web.Response:
    return web.Response(body=RIGHT[request.headers["Authorization"]])


async def test_right_answers_are_counted(wrk: Path) -> None:
    async with serving(right) as job:
        bodies = await collect_bodies(job)
        outcome = await run_wrk(wrk, job, bodies, 1)
    assert sorted(bodies) == sorted(RIGHT.values())
    assert outcome.is_clean
    assert outcome.answers > 0
    assert 0 < outcome.p50 <= outcome.p99


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [(200, b"{}", "200 {}"), (500, RIGHT["Bearer token-a"], "500 "), (503, b"", "503 ")],
)
async def test_one_answer_in_ten_that_is_wrong_is_found(
    wrk: Path, status: int, body: bytes, problem: str
) -> None:
    count = 0

    async def sometimes_wrong(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return web.Response(status=status, body=body) if count % 10 == 0 else await right(request)

    async with serving(sometimes_wrong) as job:
        outcome = await run_wrk(wrk, job, list(RIGHT.values()), 1)
    assert outcome.wrong > 0
    assert outcome.answers > outcome.wrong
    assert outcome.problem.startswith(problem)


async def test_an_answer_that_is_right_for_another_caller_is_a_wrong_one(wrk: Path) -> None:
    count = 0

    async def sometimes_swapped(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return web.Response(body=body_for("a")) if count % 10 == 0 else await right(request)

    async with serving(sometimes_swapped) as job:
        outcome = await run_wrk(wrk, job, list(RIGHT.values()), 1)
    assert 0 < outcome.wrong < outcome.answers
    assert outcome.problem.startswith('200 {"rooms":[{"name":"a"')


async def test_nobody_listening_is_no_clean_outcome(wrk: Path) -> None:
    async with serving(right) as job:
        pass
    try:
        outcome = await run_wrk(wrk, job, list(RIGHT.values()), 1)
    except DriverError:
        return
    assert not outcome.is_clean


async def test_the_first_answers_must_be_right_already() -> None:
    async def swapped(request: web.Request) -> web.Response:
        return web.Response(body=RIGHT["Bearer token-a"])

    async with serving(swapped) as job:
        with pytest.raises(DriverError, match="wrong answer"):
            await collect_bodies(job)


async def test_the_process_of_callers_tells_who_got_what() -> None:
    async with serving(right) as job, CallersProcess(job) as callers:
        outcome = await callers.run()
    assert outcome.is_clean
    assert outcome.answers >= job.callers


async def test_the_process_of_callers_finds_answers_that_went_to_the_wrong_caller() -> None:
    other = {"Bearer token-a": RIGHT["Bearer token-b"], "Bearer token-b": RIGHT["Bearer token-a"]}

    async def swapped(request: web.Request) -> web.Response:
        return web.Response(body=other[request.headers["Authorization"]])

    async with serving(swapped) as job, CallersProcess(job) as callers:
        outcome = await callers.run()
    assert (outcome.answers, outcome.is_clean) == (0, False)
