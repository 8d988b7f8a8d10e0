"""Calls by relay over real gRPC: they are the calls, answers and errors of the typed client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from edge.relay import client as relay_client
from edge.relay import connection, stream
from edge.relay.client import RelayClient, open_relay
from edge.relay.connection import Connection
from edge.relay.stream import Question
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms_client import LARGEST_PAGE
from tenantrooms_client.channel import open_channel
from tenantrooms_client.errors import (
    DeadlineExceeded,
    Internal,
    NotFound,
    ResourceExhausted,
    TenantRoomsError,
    Unavailable,
)
from tests.edge.edge_process import free_port
from tests.edge.fake_client import GetCall, ListCall
from tests.edge.fake_relay import FakeRelay, exchanges


class FakeUnary:
    """What makes the calls that do not go by relay."""

    def __init__(self) -> None:
        self.calls: list[ListCall | GetCall] = []
        self.pages: list[pb.ListRoomsResponse] = []

    @property
    def names(self) -> list[str]:
        return [call.room_name for call in self.calls if isinstance(call, GetCall)]

    async def list_rooms_page(
        self, *, page_size: int, page_token: str, token: str | None, timeout: float | None, metadata: Any
    ) -> pb.ListRoomsResponse:
        assert page_size == LARGEST_PAGE
        assert timeout is not None
        self.calls.append(ListCall(token, timeout, dict(metadata)))
        return self.pages[int(page_token or 0)]

    async def get_room(
        self, room_name: str, *, token: str | None, timeout: float | None, metadata: Any
    ) -> pb.GetRoomResponse:
        assert timeout is not None
        self.calls.append(GetCall(room_name, token, timeout, dict(metadata)))
        return response(room_name)


@pytest.fixture
async def relay() -> AsyncIterator[FakeRelay]:
    async with FakeRelay() as relay:
        yield relay


@pytest.fixture
def unary() -> FakeUnary:
    return FakeUnary()


@asynccontextmanager
async def opened(address: str, unary: FakeUnary) -> AsyncIterator[RelayClient]:
    async with (
        open_channel(address, None, None) as channel,
        open_relay(exchanges(channel), unary) as client,
    ):
        yield client


@pytest.fixture
async def client(relay: FakeRelay, unary: FakeUnary) -> AsyncIterator[RelayClient]:
    async with opened(relay.address, unary) as client:
        yield client


def asking(
    client: RelayClient, name: str, token: str | None = None, timeout: float = 10.0, metadata: Any = ()
) -> "asyncio.Task[pb.GetRoomResponse]":
    deadline = asyncio.get_running_loop().time() + timeout

    async def ask() -> pb.GetRoomResponse:
        answer = await client.get_room(name, token=token, deadline=deadline, metadata=metadata)
        return pb.GetRoomResponse.FromString(answer)

    return asyncio.create_task(ask())


def response(name: str) -> pb.GetRoomResponse:
    return pb.GetRoomResponse(room=pb.Room(name=name))


def asked_for(call: relay_pb2.Call) -> str:
    assert call.method == relay_pb2.METHOD_GET_ROOM
    return pb.GetRoomRequest.FromString(call.request).room_name


# --- calls and answers ------------------------------------------------------------------------------------


def listing(
    client: RelayClient,
    page_token: str = "",
    token: str | None = None,
    timeout: float = 10.0,
    metadata: Any = (),
) -> "asyncio.Task[pb.ListRoomsResponse]":
    deadline = asyncio.get_running_loop().time() + timeout

    async def ask() -> pb.ListRoomsResponse:
        answer = await client.list_rooms_page(page_token, token=token, deadline=deadline, metadata=metadata)
        return pb.ListRoomsResponse.FromString(answer)

    return asyncio.create_task(ask())


def page(*names: str, following: str = "") -> pb.ListRoomsResponse:
    return pb.ListRoomsResponse(
        rooms=[pb.RoomSummary(name=name) for name in names], next_page_token=following
    )


async def test_a_call_carries_all_that_a_unary_call_would(client: RelayClient, relay: FakeRelay) -> None:
    listed = listing(
        client,
        token="secret",
        timeout=5.0,
        metadata=[("x-request-id", "id-1"), ("headers-bin", b"\x00\xff")],
    )
    opened = await relay.stream()
    call = await opened.call()
    assert call.method == relay_pb2.METHOD_LIST_ROOMS
    assert pb.ListRoomsRequest.FromString(call.request) == pb.ListRoomsRequest(page_size=LARGEST_PAGE)
    assert {(pair.key, pair.value) for pair in call.metadata} == {
        ("authorization", b"Bearer secret"),
        ("x-request-id", b"id-1"),
        ("headers-bin", b"\x00\xff"),
    }
    assert 0 < call.milliseconds_left <= 5_000
    opened.answer(call, page("a"))
    assert await listed == page("a")


async def test_a_page_of_a_list_goes_on_from_the_page_before(client: RelayClient, relay: FakeRelay) -> None:
    listed = listing(client, page_token="1")
    opened = await relay.stream()
    call = await opened.call()
    request = pb.ListRoomsRequest.FromString(call.request)
    assert request == pb.ListRoomsRequest(page_size=LARGEST_PAGE, page_token="1")
    opened.answer(call, page("b", following="2"))
    assert await listed == page("b", following="2")


async def test_a_call_without_a_credential_has_none(client: RelayClient, relay: FakeRelay) -> None:
    asked = asking(client, "a")
    opened = await relay.stream()
    call = await opened.call()
    assert not call.metadata
    assert 5_000 < call.milliseconds_left <= 10_000
    opened.answer(call, response("a"))
    await asked


async def test_each_caller_gets_its_own_answer_in_whatever_order_they_come(
    client: RelayClient, relay: FakeRelay
) -> None:
    callers = {name: asking(client, name) for name in "abcdefgh"}
    opened = await relay.stream()
    calls = [await opened.call() for _ in callers]
    opened.send(
        *(
            relay_pb2.Answer(id=call.id, response=response(asked_for(call)).SerializeToString())
            for call in reversed(calls)
        )
    )
    for name, caller in callers.items():
        assert (await caller).room.name == name


async def test_calls_that_are_there_together_go_out_together(client: RelayClient, relay: FakeRelay) -> None:
    first = asking(client, "a")
    opened = await relay.stream()
    opened.answer(await opened.call(), response("a"))
    await first
    callers = [asking(client, f"{number}") for number in range(50)]
    for _ in callers:
        call = await opened.call()
        opened.answer(call, response(asked_for(call)))
    assert [(await caller).room.name for caller in callers] == [f"{number}" for number in range(50)]
    assert opened.frames < 10


async def test_an_answer_in_pieces_is_put_together_while_others_come_between(
    client: RelayClient, relay: FakeRelay
) -> None:
    large, small = asking(client, "large"), asking(client, "small")
    opened = await relay.stream()
    calls = {asked_for(call): call for call in (await opened.call(), await opened.call())}
    raw = response("large" * 1_000).SerializeToString()
    opened.send(relay_pb2.Answer(id=calls["large"].id, response=raw[:10], more=True))
    opened.answer(calls["small"], response("small"))
    assert (await small).room.name == "small"
    opened.send(relay_pb2.Answer(id=calls["large"].id, response=raw[10:2_000], more=True))
    opened.send(relay_pb2.Answer(id=calls["large"].id, response=raw[2_000:]))
    assert (await large).room.name == "large" * 1_000


async def test_a_failed_call_raises_what_the_typed_client_raises(
    client: RelayClient, relay: FakeRelay
) -> None:
    opened = await relay.stream()
    for code, reason, expected in (
        (grpc.StatusCode.NOT_FOUND, "ROOM_NOT_FOUND", NotFound),
        (grpc.StatusCode.UNAVAILABLE, "LIVEKIT_UNAVAILABLE", Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, None, DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, None, TenantRoomsError),
    ):
        asked = asking(client, "a")
        opened.fail(await opened.call(), code, reason)
        with pytest.raises(expected) as failure:
            await asked
        assert (failure.value.code, failure.value.reason) == (code, reason)
        assert (failure.value.message, failure.value.request_id) == ("text of the service", "id-1")
    assert not opened.has_calls  # none of them was tried again


async def test_a_failure_makes_pieces_that_came_before_it_void(client: RelayClient, relay: FakeRelay) -> None:
    asked = asking(client, "a")
    opened = await relay.stream()
    call = await opened.call()
    opened.send(relay_pb2.Answer(id=call.id, response=b"piece", more=True))
    opened.fail(call, grpc.StatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(DeadlineExceeded):
        await asked


async def test_a_status_that_cannot_be_understood_is_an_internal_error(
    client: RelayClient, relay: FakeRelay
) -> None:
    asked = asking(client, "a")
    opened = await relay.stream()
    opened.send(relay_pb2.Answer(id=(await opened.call()).id, status=b"\xff"))
    with pytest.raises(Internal) as failure:
        await asked
    assert failure.value.reason is None


async def test_a_status_that_says_ok_is_no_answer(client: RelayClient, relay: FakeRelay) -> None:
    asked = asking(client, "a")
    opened = await relay.stream()
    opened.fail(await opened.call(), grpc.StatusCode.OK)
    with pytest.raises(TenantRoomsError) as failure:
        await asked
    assert failure.value.code is grpc.StatusCode.UNKNOWN


# --- deadlines, callers that leave, bounds ----------------------------------------------------------------


async def test_a_call_ends_at_its_deadline_and_the_service_is_told(
    client: RelayClient, relay: FakeRelay
) -> None:
    opened = await relay.stream()
    asked = asking(client, "a", timeout=0.05)
    call = await opened.call()
    with pytest.raises(DeadlineExceeded) as failure:
        await asked
    assert failure.value.reason is None
    assert await opened.cancelled() == call.id
    opened.answer(call, response("late"))
    following = asking(client, "b")
    opened.answer(await opened.call(), response("b"))
    assert (await following).room.name == "b"


async def test_a_caller_that_leaves_cancels_its_own_call_only(client: RelayClient, relay: FakeRelay) -> None:
    opened = await relay.stream()
    leaving, staying = asking(client, "leaving"), asking(client, "staying")
    calls = {asked_for(call): call for call in (await opened.call(), await opened.call())}
    leaving.cancel()
    assert await opened.cancelled() == calls["leaving"].id
    opened.answer(calls["leaving"], response("nobody's"))
    opened.answer(calls["staying"], response("staying"))
    assert (await staying).room.name == "staying"


async def test_only_so_many_calls_are_under_way_and_the_others_wait(
    relay: FakeRelay, unary: FakeUnary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_client, "MOST_CALLS", 2)
    async with opened(relay.address, unary) as client:
        callers = [asking(client, name) for name in "abc"]
        too_late = asking(client, "d", timeout=0.05)
        stream = await relay.stream()
        first, second = await stream.call(), await stream.call()
        with pytest.raises(DeadlineExceeded):
            await too_late
        assert not stream.has_calls
        stream.answer(first, response("a"))
        third = await stream.call()
        stream.answer(third, response("c"))
        stream.answer(second, response("b"))
        assert [(await caller).room.name for caller in callers] == ["a", "b", "c"]


async def test_an_answer_larger_than_is_taken_in_is_given_up(
    client: RelayClient, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_ANSWER_BYTES", 100)
    asked = asking(client, "a")
    opened = await relay.stream()
    call = await opened.call()
    for _ in range(3):
        opened.send(relay_pb2.Answer(id=call.id, response=bytes(60), more=True))
    with pytest.raises(ResourceExhausted) as failure:
        await asked
    assert failure.value.reason is None
    assert await opened.cancelled() == call.id


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
    address = f"127.0.0.1:{free_port()}"
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
    address = f"127.0.0.1:{free_port()}"
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
