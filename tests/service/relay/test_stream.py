"""One relay stream over real gRPC: its calls apart from each other, its bounds, and how it ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status
from grpc import StatusCode
from structlog.testing import capture_logs

from common.request_ids import RequestIds
from service.answer_space import space_for
from service.auth.api_secrets import ApiSecret, ApiSecrets
from service.auth.authenticator import Authenticator
from service.authentication import POLICIES, PRINCIPAL, Access, AuthenticationInterceptor
from service.error_boundary import ErrorBoundary
from service.relay import outbox, stream
from service.relay.calls import RelayedCalls, handlers_of
from service.relay.outbox import Outbox
from service.relay.servicer import MOST_STREAMS, MOST_STREAMS_OF_A_PEER, Relay, host_of
from service.relay.stream import METHODS, MOST_CALLS
from service.request_id import REQUEST_ID
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.relay.v1.relay_pb2_grpc import RelayStub, add_RelayServicer_to_server
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import GET_ROOM, LIST_ROOMS, Context, Scripted, bearer
from tests.service.relay_calls import RelayCaller, outcome_of, relayed, relaying

SECRETS = ApiSecrets(ApiSecret(f"tenant-{number}", f"secret-{number}") for number in range(50))
TOKEN = bearer("secret-0")


class Gate:
    """Calls wait in it, by the name of the room that they ask for."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Event] = {}
        self.cancelled: set[str] = set()
        self._changed = asyncio.Event()

    async def __call__(self, request: pb.GetRoomRequest, _context: Context) -> pb.GetRoomResponse:
        name = request.room_name
        opened = self.waiting[name] = asyncio.Event()
        self._changed.set()
        try:
            await opened.wait()
        except asyncio.CancelledError:
            self.cancelled.add(name)
            self._changed.set()
            raise
        return pb.GetRoomResponse(room=pb.Room(name=name))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_waiting(self, *names: str) -> None:
        await self.until(lambda: self.waiting.keys() >= set(names))

    async def until_cancelled(self, *names: str) -> None:
        await self.until(lambda: self.cancelled >= set(names))

    def let(self, name: str) -> None:
        self.waiting[name].set()


@pytest.fixture
def gate() -> Gate:
    return Gate()


class Served:
    """A server with a relay and nothing else, and a channel to it."""

    def __init__(
        self,
        server: grpc.aio.Server,
        relay: Relay,
        target: str,
        channel: grpc.aio.Channel,
        door: AuthenticationInterceptor,
    ) -> None:
        self.server, self.relay, self.target, self.channel, self.door = server, relay, target, channel, door


@asynccontextmanager
async def serving(
    behaviour: Callable[[Any, Context], Awaitable[Any]], stream_seconds: float | None = None
) -> AsyncIterator[Served]:
    door = AuthenticationInterceptor(Authenticator([SECRETS], required=True))
    interceptors = [ErrorBoundary(RequestIds()), door]
    relay = Relay(RelayedCalls(interceptors, handlers_of(Scripted(behaviour))), stream_seconds)
    server = grpc.aio.server(
        interceptors=interceptors, options=[("grpc.max_receive_message_length", 64 * 1024)]
    )
    add_RelayServicer_to_server(relay, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    target = f"127.0.0.1:{port}"
    options = [("grpc.max_receive_message_length", 8 * 1024 * 1024)]
    try:
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            yield Served(server, relay, target, channel, door)
    finally:
        await server.stop(None)


def room(name: str, call_id: int, milliseconds: int = 60_000, token: str = "secret-0") -> relay_pb2.Call:
    request = pb.GetRoomRequest(room_name=name)
    return relayed(GET_ROOM, request, bearer(token), call_id=call_id, milliseconds=milliseconds)


async def ended(caller: RelayCaller) -> StatusCode:
    """The code with which a stream ends; what still comes before that is of no interest."""
    try:
        while True:
            await caller.frame()
    except EOFError:
        return StatusCode.OK
    except grpc.aio.AioRpcError as failure:
        return failure.code()


def test_the_relay_knows_every_rpc_of_the_contract_and_nothing_else() -> None:
    assert set(METHODS.values()) == {rpc for rpc, access in POLICIES.items() if access is Access.CREDENTIAL}
    assert set(METHODS) == set(relay_pb2.Method.values()) - {relay_pb2.METHOD_UNSPECIFIED}


# --- calls apart from each other --------------------------------------------------------------------------


async def test_answers_come_as_they_are_ready_and_not_in_the_order_of_the_calls(gate: Gate) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(room("a", 1), room("b", 2))
        await gate.until_waiting("a", "b")
        gate.let("b")
        assert (await caller.answer()).id == 2
        gate.let("a")
        assert (await caller.answer()).id == 1


async def test_calls_of_one_frame_see_neither_each_others_caller_nor_request_id() -> None:
    count = 50
    here, all_here = 0, asyncio.Event()

    async def who(_request: object, _context: Context) -> pb.ListRoomsResponse:
        nonlocal here
        before = PRINCIPAL.get(), REQUEST_ID.get()
        here += 1
        if here == count:
            all_here.set()
        await all_here.wait()
        assert (PRINCIPAL.get(), REQUEST_ID.get()) == before
        return pb.ListRoomsResponse(next_page_token=f"{before[0]} {before[1]}")

    async with serving(who) as served, relaying(served.channel) as caller:
        await caller.send(
            *(
                relayed(
                    LIST_ROOMS,
                    metadata=[*bearer(f"secret-{number}"), ("x-request-id", f"id.{number}")],
                    call_id=number,
                )
                for number in range(count)
            )
        )
        answers = await caller.answers(count)
    for number in range(count):
        answer = pb.ListRoomsResponse.FromString(answers[number].body)
        assert answer.next_page_token == f"Tenant(tenant_id='tenant-{number}') id.{number}"
        assert answers[number].request_id == f"id.{number}"


async def test_nothing_that_a_call_sets_is_left_for_the_next() -> None:
    async def who(_request: object, _context: Context) -> pb.ListRoomsResponse:
        return pb.ListRoomsResponse(next_page_token=repr(PRINCIPAL.get()))

    async with serving(who) as served, relaying(served.channel) as caller:
        assert (await caller.call(LIST_ROOMS, metadata=TOKEN)).code is StatusCode.OK
        assert (await caller.call(LIST_ROOMS)).reason == "CREDENTIAL_MISSING"
        assert (await caller.call(LIST_ROOMS, metadata=bearer("x"))).reason == "CREDENTIAL_REJECTED"


async def test_credentials_that_change_hold_for_the_next_call_of_an_open_stream() -> None:
    async def who(_request: object, _context: Context) -> pb.ListRoomsResponse:
        return pb.ListRoomsResponse()

    async with serving(who) as served, relaying(served.channel) as caller:
        assert (await caller.call(LIST_ROOMS, metadata=TOKEN)).code is StatusCode.OK
        served.door.authenticator = Authenticator([ApiSecrets([])], required=True)
        assert (await caller.call(LIST_ROOMS, metadata=TOKEN)).reason == "CREDENTIAL_REJECTED"


async def test_a_failing_call_leaves_its_neighbours_alone(gate: Gate) -> None:
    async def fail_for_b(request: pb.GetRoomRequest, context: Context) -> pb.GetRoomResponse:
        if request.room_name == "b":
            raise RuntimeError("canary")
        return await gate(request, context)

    async with serving(fail_for_b) as served, relaying(served.channel) as caller:
        await caller.send(room("a", 1), room("b", 2))
        answer = await caller.answer()
        assert (answer.id, outcome_of(answer).reason) == (2, "UNEXPECTED")
        assert b"canary" not in answer.SerializeToString()
        gate.let("a")
        assert (await caller.answer()).id == 1


# --- deadlines and callers that leave ---------------------------------------------------------------------


async def test_a_call_whose_time_is_up_is_cancelled_and_told(gate: Gate) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(room("slow", 1, milliseconds=50), room("none left", 2, milliseconds=0))
        answers = await caller.answers(2)
        await gate.until_cancelled("slow")
    for outcome in answers.values():
        assert outcome.code is StatusCode.DEADLINE_EXCEEDED
    assert "none left" not in gate.waiting


async def test_a_servicer_sees_how_much_time_a_call_has_left() -> None:
    async def time_left(_request: object, context: Context) -> pb.ListRoomsResponse:
        return pb.ListRoomsResponse(next_page_token=str(context.time_remaining()))

    async with serving(time_left) as served, relaying(served.channel) as caller:
        for sent, at_most in ((20_000, 20), (2**32 - 1, 300)):
            await caller.send(relayed(LIST_ROOMS, metadata=TOKEN, milliseconds=sent))
            body = outcome_of(await caller.answer()).body
            assert 0 < float(pb.ListRoomsResponse.FromString(body).next_page_token) <= at_most


async def test_a_caller_that_leaves_cancels_its_call_alone_and_gets_no_answer(gate: Gate) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(room("a", 1), room("b", 2))
        await gate.until_waiting("a", "b")
        await caller.send(cancelled=(1, 77))
        await gate.until_cancelled("a")
        gate.let("b")
        assert (await caller.answer()).id == 2
        await caller.exchange.done_writing()
        assert await ended(caller) is StatusCode.OK
    assert gate.cancelled == {"a"}


async def test_an_answer_that_nobody_wants_any_more_is_not_sent() -> None:
    """Whether its caller has left or its time is up; also when the answer is there and waits to be sent."""
    large = pb.ListRoomsResponse(next_page_token="x" * 8_000_000)

    async def answer(_request: object, _context: Context) -> pb.ListRoomsResponse:
        return large

    async with serving(answer) as served, relaying(served.channel) as caller:
        await caller.send(
            relayed(LIST_ROOMS, metadata=TOKEN, call_id=1),
            relayed(LIST_ROOMS, metadata=TOKEN, call_id=2),
            relayed(LIST_ROOMS, metadata=TOKEN, call_id=3, milliseconds=300),
        )
        first = await caller.answer()  # one of the answers is under way
        assert first.more
        await caller.send(cancelled=(2,))
        await asyncio.sleep(0.4)  # the time of the third
        sizes = dict.fromkeys((1, 2, 3), 0)
        sizes[first.id] += len(first.response)
        while True:
            piece = await caller.answer()
            sizes[piece.id] += len(piece.response)
            if piece.id == 1 and not piece.more:
                break
            if piece.status:
                assert piece.id == 3
                assert outcome_of(piece).code is StatusCode.DEADLINE_EXCEEDED
    assert sizes[1] == large.ByteSize()
    assert sizes[2] < large.ByteSize()
    assert sizes[3] < large.ByteSize()


# --- every way to end -------------------------------------------------------------------------------------


async def test_a_stream_that_breaks_cancels_all_its_calls(gate: Gate) -> None:
    async with (
        serving(gate) as served,
        relaying(served.channel) as caller,
        relaying(served.channel) as other,
    ):
        await caller.send(room("a", 1), room("b", 2))
        await other.send(room("c", 1))
        await gate.until_waiting("a", "b", "c")
        caller.exchange.cancel()
        await gate.until_cancelled("a", "b")
        gate.let("c")
        assert (await other.answer()).id == 1
    assert gate.cancelled == {"a", "b"}


async def test_a_stream_that_breaks_while_its_answers_are_not_read_cancels_all_its_calls(gate: Gate) -> None:
    async def large_or_waiting(request: Any, context: Context) -> Any:
        if isinstance(request, pb.ListRoomsRequest):
            return pb.ListRoomsResponse(next_page_token="x" * 8_000_000)
        return await gate(request, context)

    async with serving(large_or_waiting) as served, relaying(served.channel) as caller:
        await caller.send(*(relayed(LIST_ROOMS, metadata=TOKEN, call_id=n) for n in range(3)), room("a", 9))
        await gate.until_waiting("a")
        await asyncio.sleep(0.1)  # until the connection is full
        caller.exchange.cancel()
        await gate.until_cancelled("a")


async def test_the_end_of_the_calls_is_the_end_of_the_stream_once_all_are_answered(gate: Gate) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(room("a", 1))
        await gate.until_waiting("a")
        await caller.exchange.done_writing()
        gate.let("a")
        assert (await caller.answer()).id == 1
        assert await ended(caller) is StatusCode.OK


GARBAGE = {
    "no frame": b"\xff\xff",
    "two calls of one id": relay_pb2.ExchangeRequest(calls=[room("b", 7), room("c", 7)]).SerializeToString(),
    "the id of an open call": relay_pb2.ExchangeRequest(calls=[room("b", 1)]).SerializeToString(),
    "a key that is no text": b"\x0a\x05\x22\x03\x0a\x01\xff",
    "a frame too large": bytes(70_000),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_ends_its_stream_and_nothing_else(gate: Gate, garbage: bytes) -> None:
    async with serving(gate) as served:
        opened: Any = served.channel.stream_stream(
            "/tenantrooms.relay.v1.Relay/Exchange",
            response_deserializer=relay_pb2.ExchangeResponse.FromString,
        )
        async with relaying(served.channel) as other:
            await other.send(room("other", 1))
            caller = RelayCaller(opened())
            await caller.frame()
            await caller.exchange.write(relay_pb2.ExchangeRequest(calls=[room("a", 1)]).SerializeToString())
            await gate.until_waiting("a", "other")
            await caller.exchange.write(garbage)
            code = StatusCode.RESOURCE_EXHAUSTED if len(garbage) > 64 * 1024 else StatusCode.INVALID_ARGUMENT
            assert await ended(caller) is code
            await gate.until_cancelled("a")
            gate.let("other")
            assert (await other.answer()).id == 1


MISFITS: dict[str, tuple[relay_pb2.Call, StatusCode]] = {
    "an unknown rpc": (relay_pb2.Call(id=1, method=99, milliseconds_left=9), StatusCode.UNIMPLEMENTED),  # type: ignore[arg-type] # on purpose
    "no rpc": (relay_pb2.Call(id=1, milliseconds_left=9), StatusCode.UNIMPLEMENTED),
    "upper-case key": (relayed(LIST_ROOMS, metadata=[("Authorization", "x")]), StatusCode.INVALID_ARGUMENT),
    "an empty key": (relayed(LIST_ROOMS, metadata=[("", "x")]), StatusCode.INVALID_ARGUMENT),
    "a pseudo-header": (relayed(LIST_ROOMS, metadata=[(":path", "x")]), StatusCode.INVALID_ARGUMENT),
    "a line end": (relayed(LIST_ROOMS, metadata=[("a", "x\r\nb: y")]), StatusCode.INVALID_ARGUMENT),
    "beyond ASCII": (relayed(LIST_ROOMS, metadata=[("a", "é")]), StatusCode.INVALID_ARGUMENT),
    "text as bytes": (relayed(LIST_ROOMS, metadata=[("a", b"\xff")]), StatusCode.INVALID_ARGUMENT),
}


@pytest.mark.parametrize(("misfit", "code"), MISFITS.values(), ids=MISFITS)
async def test_a_call_that_no_unary_call_could_be_is_refused_alone(
    gate: Gate, misfit: relay_pb2.Call, code: StatusCode
) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(misfit, room("a", 2))
        answer = await caller.answer()
        assert (answer.id, outcome_of(answer).code) == (1, code)
        await gate.until_waiting("a")
        gate.let("a")
        assert (await caller.answer()).id == 2


@pytest.mark.parametrize("part", ["put", "fill", "take_back"])
async def test_a_fault_in_the_relay_itself_ends_the_stream_and_never_stops_it_silently(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(room("a", 1), room("b", 2))
        await gate.until_waiting("a", "b")

        def fail(*_: object) -> None:
            raise RuntimeError("canary")

        monkeypatch.setattr(Outbox, part, fail)
        with capture_logs() as logs:
            gate.let("a")
            await caller.send(cancelled=(2,))
            assert await ended(caller) is StatusCode.INTERNAL
        assert (logs[-1]["error"], "canary" in repr(logs)) == ("RuntimeError", False)
        assert logs[-1]["at"][-1].endswith(" fail")
        monkeypatch.undo()
        await gate.until_cancelled("b")
        async with relaying(served.channel) as another:
            await another.send(room("c", 1))
            await gate.until_waiting("c")
            gate.let("c")
            assert (await another.answer()).id == 1


async def test_what_passes_even_the_error_boundary_is_a_constant_to_its_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("canary")

    async with serving(Gate()) as served, relaying(served.channel) as caller:
        monkeypatch.setattr(RelayedCalls, "serve", fail)
        with capture_logs() as logs:
            outcome = await caller.call(LIST_ROOMS, metadata=TOKEN)
    assert (outcome.code, outcome.reason) == (StatusCode.INTERNAL, "UNEXPECTED")
    assert b"canary" not in outcome.everything
    assert len(logs) == 1


# --- bounds -----------------------------------------------------------------------------------------------


async def test_a_stream_with_too_many_calls_is_not_read_from_until_one_is_answered(gate: Gate) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        for start in range(0, MOST_CALLS, 128):
            await caller.send(*(room(f"{n}", n) for n in range(start, start + 128)))
        await gate.until(lambda: len(gate.waiting) == MOST_CALLS)
        await caller.send(room("one more", MOST_CALLS))
        async with relaying(served.channel) as other:  # a whole exchange, in which it could have begun
            await other.send(room("other", 1))
            await gate.until_waiting("other")
        assert "one more" not in gate.waiting
        gate.let("5")
        assert (await caller.answer()).id == 5
        await gate.until_waiting("one more")


async def test_who_does_not_read_answers_is_not_read_from_until_they_are_gone(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_BYTES", 4_000_000)

    async def large_or_waiting(request: Any, context: Context) -> Any:
        if isinstance(request, pb.ListRoomsRequest):
            return pb.ListRoomsResponse(next_page_token="x" * 8_000_000)
        return await gate(request, context)

    async with serving(large_or_waiting) as served, relaying(served.channel) as caller:
        await caller.send(*(relayed(LIST_ROOMS, metadata=TOKEN, call_id=n) for n in (1, 2)), room("a", 3))
        await gate.until_waiting("a")
        async with relaying(served.channel) as other:
            await other.send(room("other", 1))
            await gate.until_waiting("other")
        await caller.send(room("b", 4))
        async with relaying(served.channel) as other:
            await other.send(room("another", 1))
            await gate.until_waiting("another")
        assert "b" not in gate.waiting
        read = 0
        while read < 2:
            read += not (await caller.answer()).more
        await gate.until_waiting("b")


async def test_calls_that_have_begun_make_no_more_answers_than_there_is_space_for(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when all begin while nothing waits to be sent. Deadlines and callers that leave still count."""
    size, most = 1_000_000, 8_000_000
    monkeypatch.setattr(outbox, "MOST_BYTES", most)
    all_begun, made = asyncio.Event(), 0

    async def large_or_waiting(request: Any, context: Context) -> Any:
        nonlocal made
        if isinstance(request, pb.GetRoomRequest):
            return await gate(request, context)
        await all_begun.wait()
        await space_for(size)
        made += size
        return pb.ListRoomsResponse(next_page_token="x" * size)

    async with serving(large_or_waiting) as served, relaying(served.channel) as caller:
        lists = [relayed(LIST_ROOMS, metadata=TOKEN, call_id=n) for n in range(40)]
        lists[38].milliseconds_left = 100
        await caller.send(*lists, room("the last", 40))
        await gate.until_waiting("the last")
        all_begun.set()
        await caller.send(cancelled=(39,))
        gate.let("the last")  # its answer is small, and needs no space
        sizes, read = dict.fromkeys(range(41), 0), 0
        codes: dict[int, int] = {}
        while len(codes) < 40:
            await asyncio.sleep(0.01)  # to read slower than answers are made
            for answer in (await caller.frame()).answers:
                sizes[answer.id] += len(answer.response)
                read += len(answer.response)
                if not answer.more:
                    status = Status.FromString(answer.status)
                    codes[answer.id] = status.code
            # Beyond what is read and what may wait, gRPC has a few frames under way.
            assert made <= read + most + 8 * outbox.FRAME_BYTES
    assert {n for n, code in codes.items() if code} == {38}
    assert min(sizes[n] for n in range(38)) > size
    assert sizes[39] == 0


async def test_a_large_answer_does_not_hold_up_a_small_one(gate: Gate) -> None:
    async def large_or_waiting(request: Any, context: Context) -> Any:
        if isinstance(request, pb.ListRoomsRequest):
            return pb.ListRoomsResponse(next_page_token="x" * 30_000_000)
        return await gate(request, context)

    async with serving(large_or_waiting) as served, relaying(served.channel) as caller:
        await caller.send(relayed(LIST_ROOMS, metadata=TOKEN, call_id=1), room("a", 2))
        pieces = [await caller.answer()]
        await gate.until_waiting("a")
        gate.let("a")
        before_the_small_one = 0
        while (piece := await caller.answer()).id == 1:
            before_the_small_one += len(piece.response)
            pieces.append(piece)
        assert before_the_small_one < 10_000_000
        while pieces[-1].more:
            pieces.append(await caller.answer())
    body = b"".join(piece.response for piece in pieces)
    assert pb.ListRoomsResponse.FromString(body).next_page_token == "x" * 30_000_000
    assert max(piece.ByteSize() for piece in pieces) < 300_000


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
    assert host_of("ipv4:10.0.0.1:4711") == host_of("ipv4:10.0.0.1:42") != host_of("ipv4:10.0.0.2:42")
    assert host_of("ipv6:%5B2001:db8::1%5D:4711") == "ipv6:%5B2001:db8::1%5D"
    assert host_of("unix:/run/service.sock") == "unix:/run/service.sock"


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
