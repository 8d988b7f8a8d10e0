"""How many streams there may be, and when one ends."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Never, cast

import grpc
import pytest
from grpc import StatusCode

from service.relay import stream
from service.relay.servicer import MOST_STREAMS, MOST_STREAMS_OF_A_PEER, Relay
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.relay.v1.relay_pb2_grpc import RelayStub
from tests.service.relay_calls import RelayCaller, relaying
from tests.service.relay_streams import Gate, ended, room, serving


async def test_there_are_only_so_many_streams(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_STREAMS >= 64  # the workers that an edge may have
    monkeypatch.setattr("service.relay.servicer.MOST_STREAMS", 1)
    async with serving(gate) as served:
        async with relaying(served.channel):
            refused = RelayCaller(RelayStub(served.channel).Exchange())
            assert await ended(refused) is StatusCode.RESOURCE_EXHAUSTED
        for _ in range(1_000):  # until the service, too, knows that the first has ended
            another = RelayCaller(RelayStub(served.channel).Exchange())
            with contextlib.suppress(grpc.aio.AioRpcError):
                assert await another.frame() == relay_pb2.ExchangeResponse()
                break
        else:
            pytest.fail("the place of a stream that has ended is not given back")


async def test_one_peer_cannot_take_all_streams(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address counts, however many connections it has."""
    assert 2 * 64 <= MOST_STREAMS_OF_A_PEER < MOST_STREAMS  # the workers of an edge, changing over
    monkeypatch.setattr("service.relay.servicer.MOST_STREAMS_OF_A_PEER", 1)
    async with serving(gate) as served, relaying(served.channel):
        own_connection = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(served.target, options=own_connection) as channel:
            refused = RelayCaller(RelayStub(channel).Exchange())
            assert await ended(refused) is StatusCode.RESOURCE_EXHAUSTED


class Peer:
    """The context of a stream from this peer."""

    def __init__(self, peer: str) -> None:
        self._peer = peer

    def peer(self) -> str:
        return self._peer

    async def abort(self, code: StatusCode, details: str) -> Never:
        raise PermissionError(code)


@pytest.mark.parametrize(
    ("first", "second", "one_client"),
    [
        ("ipv4:10.0.0.1:4711", "ipv4:10.0.0.1:42", True),
        ("ipv4:10.0.0.1:4711", "ipv4:10.0.0.2:4711", False),
        ("ipv4:10.0.0.1:4711", "ipv6:[::ffff:10.0.0.1]:42", True),
        ("ipv6:[2001:db8::1]:4711", "ipv6:%5B2001:db8::ffff:2%5D:42", True),
        ("ipv6:%5B2001:db8::1%5D:4711", "ipv6:%5B2001:db8:0:1::1%5D:4711", False),
        ("unix:", "unix:/run/service.sock", True),
    ],
)
async def test_streams_are_counted_by_client_and_not_by_its_addresses_and_ports(
    monkeypatch: pytest.MonkeyPatch, first: str, second: str, one_client: bool
) -> None:
    monkeypatch.setattr("service.relay.servicer.MOST_STREAMS_OF_A_PEER", 1)

    async def no_requests() -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield None

    relay = Relay(cast("Any", None))
    async with contextlib.AsyncExitStack() as stack:
        for peer, refused in ((first, False), (second, one_client)):
            exchange = relay.Exchange(no_requests(), cast("Any", Peer(peer)))
            await stack.enter_async_context(contextlib.aclosing(cast("AsyncGenerator[Any, None]", exchange)))
            with pytest.raises(PermissionError) if refused else contextlib.nullcontext():
                await anext(exchange)
    assert relay.streams == 0


async def test_a_stream_that_carries_no_call_is_asked_to_end_and_ended_when_it_does_not(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "IDLE_SECONDS", 0.1)
    async with serving(gate) as served, relaying(served.channel) as caller:
        assert (await caller.frame()).leaving
        assert await ended(caller) is StatusCode.OK


async def test_a_stream_with_a_call_under_way_is_not_ended_before_it_is_answered(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "IDLE_SECONDS", 0.05)
    async with serving(gate) as served, relaying(served.channel) as idle, relaying(served.channel) as caller:
        await caller.send(room("a", 1))
        await gate.until_waiting("a")
        assert await ended(idle) is StatusCode.OK
        gate.let("a")
        assert (await caller.answer()).id == 1
        assert await ended(caller) is StatusCode.OK


# --- stopping ---------------------------------------------------------------------------------------------


async def test_a_service_that_leaves_answers_what_was_sent_and_then_ends_its_streams(gate: Gate) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(room("a", 1))
        await gate.until_waiting("a")
        served.relay.leave()
        stopping = asyncio.create_task(served.server.stop(20))
        assert (await caller.frame()).leaving
        await caller.send(room("sent before it was heard", 2))
        await gate.until_waiting("sent before it was heard")
        await caller.exchange.done_writing()
        for name in gate.waiting:
            gate.let(name)
        answers = await caller.answers(2)
        assert {outcome.code for outcome in answers.values()} == {StatusCode.OK}
        assert await ended(caller) is StatusCode.OK
        async with asyncio.timeout(10):
            await stopping
    assert gate.cancelled == set()


async def test_a_stream_of_age_ends_as_soon_as_what_was_sent_is_answered_and_another_is_taken(
    gate: Gate,
) -> None:
    async with serving(gate, 0.05) as served, relaying(served.channel) as caller:
        await caller.send(room("a", 1))
        assert (await caller.frame()).leaving
        await caller.exchange.done_writing()
        gate.let("a")
        assert (await caller.answer()).id == 1
        assert await ended(caller) is StatusCode.OK
        async with relaying(served.channel):
            pass


async def test_a_service_that_leaves_takes_no_new_stream(gate: Gate) -> None:
    async with serving(gate) as served:
        served.relay.leave()
        assert await ended(RelayCaller(RelayStub(served.channel).Exchange())) is StatusCode.UNAVAILABLE


async def test_an_edge_that_does_not_half_close_holds_up_the_stop_no_longer_than_its_grace(
    gate: Gate,
) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(room("a", 1))
        await gate.until_waiting("a")
        served.relay.leave()
        async with asyncio.timeout(10):
            await served.server.stop(0.1)
        await gate.until_cancelled("a")
