"""Callers that do not read: what they leave unread is bounded, for them alone, and given back."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from service import unsent_answers
from service.errors import Overloaded
from service.places import Limit
from service.unsent_answers import LEAST_BYTES, MOST_BYTES, UnsentAnswers
from tests.service.grpc_calls import LIST_ROOMS, bearer, call
from tests.service.test_limits import service
from tests.service.test_server import ACME, CLOSED, GLOBEX
from tests.support.livekit_double import LiveKitDouble
from tests.support.raw_grpc import unread_calls

HALF = MOST_BYTES // 2


class OpenCall:
    """A call, until it is over."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Any], None]] = []

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def end(self) -> None:
        for callback in self._callbacks:
            callback(self)


class Answers:
    """Answers that callers leave unread, and what was told of refusals."""

    def __init__(self) -> None:
        self.refused: list[Limit] = []
        self.unsent: UnsentAnswers[str] = UnsentAnswers(self.refused.append)

    def bytes_of(self, who: str) -> int:
        return self.unsent.bytes_of(who)

    async def keep(self, who: str, size: int) -> OpenCall:
        made: Any = OpenCall()
        await self.unsent.keep(who, made, size)
        return made  # type: ignore[no-any-return]

    async def wait(self, who: str, size: int) -> "asyncio.Task[OpenCall]":
        """A call that waits by now."""
        task = asyncio.create_task(self.keep(who, size))
        await asyncio.sleep(0)
        assert not task.done()
        return task


async def test_each_has_space_of_its_own_which_is_given_back_when_the_call_is_over() -> None:
    answers = Answers()
    first, second = await answers.keep("acme", HALF), await answers.keep("acme", HALF)
    waiting = await answers.wait("acme", 1)
    await answers.keep("globex", MOST_BYTES)
    assert answers.bytes_of("acme") == answers.bytes_of("globex") == MOST_BYTES
    first.end()
    third = await waiting
    assert answers.bytes_of("acme") == HALF + LEAST_BYTES
    second.end()
    third.end()
    assert answers.bytes_of("acme") == 0
    assert list(answers.unsent._held) == ["globex"]


async def test_one_that_is_too_large_is_let_through_alone() -> None:
    answers = Answers()
    small = await answers.keep("acme", 1)
    large = await answers.wait("acme", 2 * MOST_BYTES)
    behind = await answers.wait("acme", 1)
    small.end()
    (await large).end()
    (await behind).end()
    assert answers.bytes_of("acme") == 0


async def test_who_waits_too_long_is_refused_and_who_leaves_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = Answers()
    held = await answers.keep("acme", HALF)
    leaving, behind = await answers.wait("acme", MOST_BYTES), await answers.wait("acme", HALF)
    leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaving
    (await behind).end()
    monkeypatch.setattr(unsent_answers, "MOST_WAIT_SECONDS", 0.01)
    with pytest.raises(Overloaded):
        await answers.keep("acme", MOST_BYTES)
    assert answers.refused == [Limit.UNSENT_ANSWERS]
    assert answers.bytes_of("acme") == HALF
    held.end()
    assert not answers.unsent._held


async def test_a_connection_that_breaks_with_a_call_that_waits_leaves_what_others_hold_as_it_is() -> None:
    answers = Answers()
    unread = await answers.keep("acme", MOST_BYTES)
    waiting = await answers.wait("acme", 1)
    # The next call comes before the one that waited has noticed.
    waiting.cancel()
    unread.end()
    held = await answers.keep("acme", HALF)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert answers.bytes_of("acme") == HALF
    behind = await answers.wait("acme", MOST_BYTES)
    held.end()
    (await behind).end()
    assert answers.bytes_of("acme") == 0
    assert not answers.unsent._held


async def test_answers_that_are_not_read_take_a_bounded_space_and_no_other_tenants(
    tmp_path: Path, livekit_double: LiveKitDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real HTTP/2 with a flow-control window of nothing."""
    for number in range(200):
        livekit_double.put_room(f"a-room-with-a-name-{number}", owner="acme")
    monkeypatch.setattr(unsent_answers, "MOST_BYTES", 4 * LEAST_BYTES)
    monkeypatch.setattr(unsent_answers, "MOST_WAIT_SECONDS", 0.01)
    authorization = [(b"authorization", f"Bearer {ACME}".encode())]
    async with service(tmp_path, livekit_double, **CLOSED) as doors:
        async with (
            asyncio.timeout(20),
            unread_calls(f"{tmp_path}/s", LIST_ROOMS, authorization, 20) as reader,
        ):
            while doors.refused("unsent_answers") < 16:
                assert await reader.read(2**16)  # what is refused is told in headers, which need no window
            outcome = await call(doors.channel, LIST_ROOMS, b"", bearer(ACME))
            assert outcome.reason == "OVERLOADED"
            assert (await call(doors.channel, LIST_ROOMS, b"", bearer(GLOBEX))).code is StatusCode.OK
            for token, code in ((ACME, StatusCode.OK), (GLOBEX, StatusCode.OK)):
                assert (await doors.caller.call(LIST_ROOMS, b"", bearer(token))).code is code
        async with asyncio.timeout(20):
            # Nothing tells when the service has noticed that the connection is closed.
            while (await call(doors.channel, LIST_ROOMS, b"", bearer(ACME))).code is not StatusCode.OK:
                pass
