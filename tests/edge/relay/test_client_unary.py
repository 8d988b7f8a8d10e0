"""Which calls are made without the relay, and how large ones go by it."""

import asyncio
from typing import Any

import grpc
import pytest

from edge.relay import connection, stream
from edge.relay.client import RelayClient, open_relay
from edge.relay.stream import Question
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.edge.fake_client import GetCall
from tests.edge.fake_relay import FakeRelay
from tests.edge.relay_calls import FakeUnary, asked_for, asking, listing, opened, page, response

# --- without a relay --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.OK,
    ],
)
async def test_where_the_service_refuses_a_stream_calls_are_unary(
    relay: FakeRelay, unary: FakeUnary, code: grpc.StatusCode
) -> None:
    relay.refusal = code if code is not grpc.StatusCode.OK else None
    relay.greets = code is not grpc.StatusCode.OK
    async with opened(relay.address, unary) as client:
        asked = asking(client, "a", token="secret", timeout=5.0, metadata=[("x-request-id", "id-1")])
        if code is grpc.StatusCode.OK:
            (await relay.stream()).end()
        assert (await asked).room.name == "a"
        unary.pages = [page("a", following="1"), page("b")]
        assert await listing(client) == unary.pages[0]
        assert await listing(client, page_token="1") == unary.pages[1]
    made = unary.calls[0]
    assert isinstance(made, GetCall)
    assert (made.room_name, made.token, made.metadata) == ("a", "secret", {"x-request-id": "id-1"})
    assert 0 < made.timeout <= 5.0
    assert relay.opened == 1  # it is not asked again with every call


async def test_a_service_that_gets_a_relay_later_is_used_by_relay_then(
    relay: FakeRelay, unary: FakeUnary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_SECONDS_WITHOUT", 0.05)
    relay.refusal = grpc.StatusCode.UNIMPLEMENTED
    async with opened(relay.address, unary) as client:
        await asking(client, "a")
        relay.refusal = None
        stream = await relay.stream()
        relayed = asyncio.create_task(stream.call())
        while not relayed.done():  # as soon as the edge, too, knows
            asked = asking(client, "b")
            await asyncio.wait({asked, relayed}, return_when=asyncio.FIRST_COMPLETED)
        stream.answer(relayed.result(), response("b"))
        await asked


async def test_a_service_that_accepts_streams_and_says_nothing_gets_unary_calls(
    relay: FakeRelay, unary: FakeUnary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_OPEN_SECONDS", 0.1)
    relay.greets = False
    async with opened(relay.address, unary) as client:
        await asking(client, "a")
    assert unary.names == ["a"]


@pytest.mark.parametrize("too_much", [0, 1])
async def test_a_call_that_does_not_fit_into_a_frame_is_unary(
    client: RelayClient, relay: FakeRelay, unary: FakeUnary, too_much: int
) -> None:
    opened = await relay.stream()
    question = Question(
        relay_pb2.METHOD_GET_ROOM, pb.GetRoomRequest(room_name="a").SerializeToString(), [("h-bin", b"")]
    )
    asked = asking(client, "a", metadata=[("h-bin", bytes(stream.FRAME_BYTES - question.size + too_much))])
    if too_much:
        await asked
        assert unary.names == ["a"]
    else:
        opened.answer(await opened.call(), response("a"))  # gRPC would have refused a larger frame
        await asked
        assert unary.names == []


async def test_large_calls_that_come_together_go_in_several_frames(
    client: RelayClient, relay: FakeRelay
) -> None:
    callers = [asking(client, f"{n}", metadata=[("headers-bin", bytes(30_000))]) for n in range(8)]
    opened = await relay.stream()
    for _ in callers:
        call = await opened.call()
        opened.answer(call, response(asked_for(call)))
    assert [(await caller).room.name for caller in callers] == [f"{n}" for n in range(8)]
    assert opened.frames >= 4


async def test_a_channel_that_cannot_start_an_exchange_means_unary_calls(unary: FakeUnary) -> None:
    def start() -> Any:
        raise grpc.aio.UsageError("Channel is closed.")

    async with open_relay(start, unary) as client:
        await asking(client, "a")
    assert unary.names == ["a"]
