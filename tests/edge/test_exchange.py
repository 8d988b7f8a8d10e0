"""One HTTP exchange: what is left of it once its answer is given."""

import asyncio
import gc
import weakref

import pytest
from litestar.types import HTTPReceiveMessage, Message

from edge import exchange as module
from edge.exchange import Exchange


async def test_a_request_whose_caller_was_watched_goes_without_the_garbage_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WATCH_AFTER_SECONDS", 0.0)
    watched = asyncio.Event()

    async def receive() -> HTTPReceiveMessage:
        watched.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody hangs up")

    async def send(_message: Message) -> None:
        pass

    async def work() -> None:
        await watched.wait()

    exchange = Exchange(receive, send, [], with_body=True)
    gone = asyncio.Event()
    weakref.finalize(exchange, gone.set)
    gc.disable()
    try:
        await exchange.run(work())
        del exchange
        async with asyncio.timeout(10):
            await gone.wait()
    finally:
        gc.enable()
