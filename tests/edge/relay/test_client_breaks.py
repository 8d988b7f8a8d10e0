"""What becomes of calls when their stream, its channel or the service goes away."""

import asyncio
from typing import Any

import grpc
import pytest

from edge.relay import connection
from edge.relay.client import RelayClient, open_relay
from edge.relay.connection import Connection
from tenantrooms_client.channel import open_channel
from tenantrooms_client.errors import (
    DeadlineExceeded,
    Unavailable,
)
from tests.edge.fake_relay import FakeRelay, exchanges
from tests.edge.relay_calls import FakeUnary, asked_for, asking, opened, response
from tools.ports import free_tcp_port

# --- streams that end -------------------------------------------------------------------------------------

BREAKS = [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL]


@pytest.mark.parametrize("code", BREAKS)
async def test_a_call_on_a_stream_that_breaks_is_tried_once_on_the_next(
    client: RelayClient, relay: FakeRelay, code: grpc.StatusCode
) -> None:
    asked = asking(client, "a", timeout=5.0)
    first = await relay.stream()
    before = await first.call()
    first.end(code)
    second = await relay.stream()
    again = await second.call()
    assert (again.request, again.metadata) == (before.request, before.metadata)
    assert again.milliseconds_left <= before.milliseconds_left
    second.answer(again, response("a"))
    assert (await asked).room.name == "a"


async def test_a_call_is_not_tried_a_third_time(client: RelayClient, relay: FakeRelay) -> None:
    asked = asking(client, "a")
    for _ in range(2):
        opened = await relay.stream()
        await opened.call()
        opened.end(grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Unavailable) as failure:
        await asked
    assert failure.value.reason is None
    following = asking(client, "b")
    third = await relay.stream()
    call = await third.call()
    assert asked_for(call) == "b"
    third.answer(call, response("b"))
    await following


async def test_a_service_that_leaves_answers_what_it_has_and_gets_nothing_more(
    client: RelayClient, relay: FakeRelay
) -> None:
    before = asking(client, "before")
    leaving = await relay.stream()
    call = await leaving.call()
    leaving.send(leaving=True)
    following = await relay.stream()
    await leaving.half_closed.wait()
    after = asking(client, "after")
    following.answer(await following.call(), response("after"))
    assert (await after).room.name == "after"
    leaving.answer(call, response("before"))
    assert (await before).room.name == "before"
    leaving.end()
    await leaving.ended.wait()
    assert not leaving.has_calls


async def test_a_change_of_channels_loses_no_call(unary: FakeUnary) -> None:
    async with (
        FakeRelay() as old,
        FakeRelay() as new,
        open_channel(old.address, None, None) as first,
        open_channel(new.address, None, None) as second,
    ):
        channel = first

        def start() -> Any:
            return exchanges(channel)()

        async with open_relay(start, unary) as client:
            before = asking(client, "before")
            stream = await old.stream()
            call = await stream.call()
            channel = second
            client.renew()
            after = asking(client, "after")
            following = await new.stream()
            following.answer(await following.call(), response("after"))
            assert (await after).room.name == "after"
            await stream.half_closed.wait()
            stream.answer(call, response("before"))
            assert (await before).room.name == "before"
        assert (old.opened, new.opened) == (1, 1)
    assert unary.calls == []


async def test_a_channel_that_is_closed_under_its_stream_is_a_stream_that_breaks(
    relay: FakeRelay, unary: FakeUnary
) -> None:
    channel = first = open_channel(relay.address, None, None)

    def start() -> Any:
        return exchanges(channel)()

    async with (
        open_channel(relay.address, None, None) as second,
        open_relay(start, unary) as client,
    ):
        asked = asking(client, "a")
        await (await relay.stream()).call()
        channel = second
        await first.close()
        stream = await relay.stream()
        stream.answer(await stream.call(), response("a"))
        assert (await asked).room.name == "a"


async def test_a_call_without_a_stream_fails_soon_and_not_when_the_service_is_back_in_time(
    unary: FakeUnary,
) -> None:
    address = f"127.0.0.1:{free_tcp_port()}"
    async with opened(address, unary) as client:
        with pytest.raises(Unavailable) as failure:
            await asking(client, "a", timeout=60.0)
        assert failure.value.reason is None
        with pytest.raises(DeadlineExceeded):
            await asking(client, "a", timeout=0.01)
        async with FakeRelay(address) as relay:
            stream = await relay.stream()
            asked = asking(client, "a")
            stream.answer(await stream.call(), response("a"))
            assert (await asked).room.name == "a"
        with pytest.raises(Unavailable):
            await asking(client, "a", timeout=60.0)
    assert unary.calls == []


async def test_a_service_that_is_slow_to_accept_the_first_stream_is_waited_for(relay: FakeRelay) -> None:
    relay.greets = False
    deadline = asyncio.get_running_loop().time() + 10
    async with (
        open_channel(relay.address, None, None) as channel,
        Connection(exchanges(channel), patience=0.01) as connection,
    ):
        waiting = asyncio.create_task(connection.stream(deadline))
        stream = await relay.stream()
        await asyncio.wait([waiting], timeout=0.05)
        stream.send()
        found = await waiting
        assert found is not None
        assert found.takes_calls


async def test_a_service_that_comes_within_a_calls_patience_answers_it(unary: FakeUnary) -> None:
    address = f"127.0.0.1:{free_tcp_port()}"
    async with opened(address, unary) as client:
        with pytest.raises(Unavailable):
            await asking(client, "a", timeout=60.0)
        # The channel has given up connecting for the moment, and so has the edge.
        async with FakeRelay(address) as relay:
            asked = asking(client, "a")
            stream = await relay.stream()
            stream.answer(await stream.call(), response("a"))
            assert (await asked).room.name == "a"


async def test_closing_ends_what_is_under_way(relay: FakeRelay, unary: FakeUnary) -> None:
    async with opened(relay.address, unary) as client:
        asked = asking(client, "a")
        stream = await relay.stream()
        await stream.call()
    with pytest.raises(Unavailable):
        await asked
    await stream.ended.wait()


class _ToldAsAFailure:
    """An exchange whose read tells that it was cancelled as a call that failed, as gRPC does at times."""

    def __init__(self) -> None:
        self.reading = asyncio.Event()

    async def read(self) -> Any:
        self.reading.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            code, nothing = grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(code, nothing, nothing) from None

    def cancel(self) -> bool:
        return True


async def test_closing_ends_although_grpc_tells_its_cancellation_as_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_SHORTEST_PAUSE", 3600)
    exchange: Any = _ToldAsAFailure()
    async with asyncio.timeout(10), Connection(lambda: exchange):
        await exchange.reading.wait()
