"""A stream in front of a scripted exchange: what happens around a frame that is being written."""

import asyncio
import gc
from typing import Any, cast

import grpc
import pytest
from structlog.testing import capture_logs

from edge.relay.stream import Exchange, Question, Stream, StreamOverError
from tenantrooms.relay.v1 import relay_pb2


class FakeExchange:
    """An exchange whose frames are taken and given by a test."""

    def __init__(self) -> None:
        self.written: list[relay_pb2.ExchangeRequest] = []
        self.writing = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.half_closed = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.failure: Exception | None = None
        self.to_read: asyncio.Queue[Any] = asyncio.Queue()
        self.to_read.put_nowait(relay_pb2.ExchangeResponse())

    async def write(self, frame: relay_pb2.ExchangeRequest) -> None:
        if self.failure is not None:
            raise self.failure
        self.written.append(frame)
        self.writing.set()
        await self.may_write.wait()

    async def read(self) -> Any:
        frame = await self.to_read.get()
        if isinstance(frame, Exception):
            raise frame
        return frame

    async def done_writing(self) -> None:
        self.half_closed.set()

    def cancel(self) -> bool:
        self.cancelled.set()
        self.to_read.put_nowait(grpc.aio.EOF)
        return True

    async def frame(self) -> relay_pb2.ExchangeRequest:
        """The next frame that is written."""
        await self.writing.wait()
        self.writing.clear()
        return self.written[-1]


@pytest.fixture
def exchange() -> FakeExchange:
    return FakeExchange()


async def opened(exchange: FakeExchange, left: list[str] | None = None) -> Stream:
    leavings: list[str] = [] if left is None else left
    stream = Stream(cast(Exchange, exchange), lambda: leavings.append("left"))
    assert await stream.open()
    return stream


def asking(stream: Stream, name: bytes, seconds: float = 60) -> "asyncio.Task[bytes]":
    deadline = asyncio.get_running_loop().time() + seconds
    return asyncio.create_task(stream.ask(Question(relay_pb2.METHOD_GET_ROOM, name, ()), deadline))


def names(frame: relay_pb2.ExchangeRequest) -> list[bytes]:
    return [call.request for call in frame.calls]


async def test_what_comes_while_a_frame_is_written_goes_into_the_next(exchange: FakeExchange) -> None:
    stream = await opened(exchange)
    exchange.may_write.clear()
    callers = [asking(stream, b"a")]
    assert names(await exchange.frame()) == [b"a"]
    callers += [asking(stream, name) for name in (b"b", b"c", b"d")]
    await asyncio.sleep(0)
    exchange.may_write.set()
    assert names(await exchange.frame()) == [b"b", b"c", b"d"]
    await stream.close()
    assert all(
        isinstance(each, StreamOverError) for each in await asyncio.gather(*callers, return_exceptions=True)
    )


async def test_a_call_whose_caller_leaves_before_it_is_sent_is_never_sent(exchange: FakeExchange) -> None:
    stream = await opened(exchange)
    exchange.may_write.clear()
    callers = [asking(stream, b"a")]
    await exchange.frame()
    callers += [asking(stream, name) for name in (b"b", b"c")]
    await asyncio.sleep(0)
    callers[1].cancel()
    await asyncio.wait([callers[1]])
    exchange.may_write.set()
    frame = await exchange.frame()
    assert (names(frame), list(frame.cancelled)) == ([b"c"], [])
    await stream.close()
    await asyncio.gather(*callers, return_exceptions=True)


async def test_the_time_left_is_that_of_the_moment_when_the_call_is_sent(exchange: FakeExchange) -> None:
    stream = await opened(exchange)
    exchange.may_write.clear()
    callers = [asking(stream, b"a", 60.0)]
    await exchange.frame()
    asked_at = asyncio.get_running_loop().time()
    callers += [asking(stream, b"b", 60.0)]
    await asyncio.sleep(0.02)
    waited = asyncio.get_running_loop().time() - asked_at
    exchange.may_write.set()
    (call,) = (await exchange.frame()).calls
    assert call.milliseconds_left <= 60_000 - int(waited * 1000)
    await stream.close()
    await asyncio.gather(*callers, return_exceptions=True)


async def test_calls_that_are_not_sent_when_the_service_leaves_say_so(exchange: FakeExchange) -> None:
    left: list[str] = []
    stream = await opened(exchange, left)
    exchange.may_write.clear()
    sent, unsent = asking(stream, b"a"), None
    await exchange.frame()
    unsent = asking(stream, b"b")
    await asyncio.sleep(0)
    exchange.to_read.put_nowait(relay_pb2.ExchangeResponse(leaving=True))
    with pytest.raises(StreamOverError) as over:
        await unsent
    assert not over.value.sent
    assert left == ["left"]
    assert not stream.takes_calls
    with pytest.raises(StreamOverError) as over:
        await asking(stream, b"c")
    assert not over.value.sent
    exchange.may_write.set()
    await exchange.half_closed.wait()
    exchange.to_read.put_nowait(
        relay_pb2.ExchangeResponse(answers=[relay_pb2.Answer(id=1, response=b"answer")])
    )
    assert await sent == b"answer"
    exchange.to_read.put_nowait(grpc.aio.EOF)
    await stream.over()
    assert left == ["left"]


@pytest.mark.parametrize("error", [RuntimeError("canary"), asyncio.InvalidStateError("canary")])
async def test_a_frame_that_cannot_be_written_ends_the_stream_with_its_calls(
    exchange: FakeExchange, error: Exception
) -> None:
    left: list[str] = []
    stream = await opened(exchange, left)
    exchange.failure = error
    with capture_logs() as logs, pytest.raises(StreamOverError) as over:
        await asking(stream, b"a")
    assert over.value.sent
    await stream.over()
    assert exchange.cancelled.is_set()
    assert left == ["left"]
    assert "canary" not in repr(logs)
    assert len(logs) == isinstance(error, RuntimeError)


async def test_a_fault_while_reading_ends_the_stream_with_its_calls(
    exchange: FakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await opened(exchange)

    def fail(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(stream, "_take", fail)
    asked = asking(stream, b"a")
    await exchange.frame()
    exchange.to_read.put_nowait(relay_pb2.ExchangeResponse(answers=[relay_pb2.Answer(id=1)]))
    with pytest.raises(StreamOverError):
        await asked
    await stream.over()
    assert exchange.cancelled.is_set()


async def test_frames_that_cannot_be_understood_end_the_stream(exchange: FakeExchange) -> None:
    stream = await opened(exchange)
    asked = asking(stream, b"a")
    await exchange.frame()
    exchange.to_read.put_nowait(None)  # what grpc.aio gives for bytes that are no message
    with pytest.raises(StreamOverError):
        await asked
    await stream.over()


async def test_answers_that_nobody_has_asked_for_are_ignored(exchange: FakeExchange) -> None:
    stream = await opened(exchange)
    asked = asking(stream, b"a")
    await exchange.frame()
    answers = [relay_pb2.Answer(id=99, response=b"stray"), relay_pb2.Answer(id=1, response=b"mine")]
    answers.append(relay_pb2.Answer(id=1, response=b"again"))
    exchange.to_read.put_nowait(relay_pb2.ExchangeResponse(answers=answers))
    assert await asked == b"mine"
    await stream.close()


async def test_a_failure_that_comes_when_its_caller_leaves_is_left_to_nobody(exchange: FakeExchange) -> None:
    heard: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    stream = await opened(exchange)
    asked = asking(stream, b"a")
    await exchange.frame()
    loop.set_exception_handler(lambda _, context: heard.append(context))
    try:
        stream._take(relay_pb2.Answer(id=1, status=b"\x08\x0e"))
        asked.cancel()
        await asyncio.wait([asked])
        gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert asked.cancelled()
    assert heard == []
    await stream.close()
