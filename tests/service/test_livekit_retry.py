"""When LiveKit is asked a second time, and that both times share one deadline."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.errors import DomainError, LiveKitFailed, LiveKitTimedOut, LiveKitUnavailable
from service.inquiry import INQUIRY, Inquiry
from service.livekit import TwirpAnswer
from service.livekit_retry import CAUSES, RetryingTransport

Step = TwirpAnswer | DomainError | Callable[[], Awaitable[TwirpAnswer]]

GOOD = TwirpAnswer(200, "application/protobuf", b"good")


def status(number: int) -> TwirpAnswer:
    return TwirpAnswer(number, "application/json", b"{}")


async def never() -> TwirpAnswer:
    await asyncio.Event().wait()
    raise AssertionError


class Recorder:
    """A transport that answers each call with the next step, and keeps what it was asked."""

    def __init__(self, *steps: Step) -> None:
        self._steps = list(steps)
        self.calls: list[tuple[str, str, bytes]] = []
        self.last_step = asyncio.Event()

    async def post(self, method: str, token: str, body: bytes) -> TwirpAnswer:
        self.calls.append((method, token, body))
        step = self._steps.pop(0)
        if not self._steps:
            self.last_step.set()
        if isinstance(step, TwirpAnswer):
            return step
        if isinstance(step, Exception):
            raise step
        return await step()


async def asked(
    transport: Recorder, timeout: float = 10, retried: Callable[[str], None] = lambda _: None
) -> TwirpAnswer:
    return await RetryingTransport(transport, timeout, retried).post("ListRooms", "token", b"body")


@pytest.mark.parametrize(
    "first",
    [
        *(status(number) for number in (500, 502, 503, 504)),
        TwirpAnswer(408, "", b""),  # an idle connection's end, not LiveKit's deadline
        TwirpAnswer(408, "text/html", b"<h1>408 Request Time-out</h1>"),
        LiveKitUnavailable("no connection"),
    ],
    ids=str,
)
async def test_what_may_be_over_soon_is_asked_once_more_in_the_same_words(first: Step) -> None:
    transport = Recorder(first, GOOD)
    assert await asked(transport) == GOOD
    assert transport.calls == [("ListRooms", "token", b"body")] * 2


@pytest.mark.parametrize("number", [200, 301, 400, 401, 403, 404, 408, 413, 429, 501])
async def test_any_other_answer_is_final(number: int) -> None:
    transport = Recorder(status(number))
    assert await asked(transport) == status(number)
    assert len(transport.calls) == 1


@pytest.mark.parametrize("first", [LiveKitFailed("it broke off"), LiveKitTimedOut("too slow")], ids=repr)
async def test_an_answer_that_is_none_and_a_deadline_that_has_passed_are_final(first: DomainError) -> None:
    transport = Recorder(first)
    with pytest.raises(type(first)) as raised:
        await asked(transport)
    assert raised.value is first
    assert len(transport.calls) == 1


async def test_the_second_try_is_the_last() -> None:
    transport = Recorder(status(503), status(500))
    assert await asked(transport) == status(500)
    transport = Recorder(LiveKitUnavailable("first"), LiveKitUnavailable("second"))
    with pytest.raises(LiveKitUnavailable, match="second"):
        await asked(transport)


async def test_both_tries_share_one_deadline() -> None:
    transport = Recorder(status(503), never)
    async with asyncio.timeout(10):
        with pytest.raises(LiveKitTimedOut):
            await asked(transport, timeout=0.3)
    assert len(transport.calls) == 2


async def test_without_time_for_a_second_try_the_first_one_counts() -> None:
    transport = Recorder(status(503))
    assert await asked(transport, timeout=0.01) == status(503)
    failure = LiveKitUnavailable("no connection")
    with pytest.raises(LiveKitUnavailable) as raised:
        await asked(Recorder(failure), timeout=0.01)
    assert raised.value is failure


@pytest.mark.parametrize("steps", [(never,), (status(503), never)], ids=["first", "second"])
async def test_who_leaves_ends_the_try_under_way(steps: tuple[Step, ...]) -> None:
    transport = Recorder(*steps)
    asking = asyncio.create_task(asked(transport))
    await transport.last_step.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_of_questions_that_follow_from_one_the_first_sets_the_deadline_and_is_alone_tried_again() -> (
    None
):
    transport = Recorder(status(500), status(500), status(500), LiveKitUnavailable("no connection"))
    loop = asyncio.get_running_loop()
    inquiry = Inquiry()
    INQUIRY.set(inquiry)
    before = loop.time()
    assert await asked(transport, timeout=10) == status(500)
    deadline = inquiry.deadline
    assert deadline is not None
    assert before + 10 <= deadline <= loop.time() + 10
    assert await asked(transport) == status(500)
    with pytest.raises(LiveKitUnavailable):
        await asked(transport)
    assert len(transport.calls) == 4
    assert inquiry.deadline == deadline


async def test_each_second_try_is_told_with_its_cause_and_nothing_else_is() -> None:
    causes: list[str] = []
    firsts: list[Step] = [status(number) for number in (500, 502, 503, 504)]
    for first in [*firsts, TwirpAnswer(408, "", b""), LiveKitUnavailable("no connection")]:
        await asked(Recorder(first, status(503)), retried=causes.append)
    assert causes == ["http_500", "http_502", "http_503", "http_504", "http_408", "no_answer"]
    assert set(causes) == set(CAUSES)
    await asked(Recorder(GOOD), retried=causes.append)
    await asked(Recorder(status(404)), retried=causes.append)
    assert await asked(Recorder(status(503)), timeout=0.01, retried=causes.append) == status(503)
    assert len(causes) == len(CAUSES)
