"""What calls on one stream get, and that none has to do with another."""

import asyncio
from typing import Any

from grpc import StatusCode

from service.auth.api_secrets import ApiSecrets
from service.auth.authenticator import Authenticator
from service.authentication import POLICIES, PRINCIPAL, Access
from service.relay.stream import METHODS
from service.request_id import REQUEST_ID
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import LIST_ROOMS, Context, bearer
from tests.service.relay_calls import outcome_of, relayed, relaying
from tests.service.relay_streams import TOKEN, Gate, ended, room, serving


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
        assert served.relay._space.held > 0
        caller.exchange.cancel()
        await gate.until_cancelled("a")
        async with asyncio.timeout(10):
            while served.relay.streams:  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0.001)
        assert served.relay._space.held == 0


async def test_the_end_of_the_calls_is_the_end_of_the_stream_once_all_are_answered(gate: Gate) -> None:
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(room("a", 1))
        await gate.until_waiting("a")
        await caller.exchange.done_writing()
        gate.let("a")
        assert (await caller.answer()).id == 1
        assert await ended(caller) is StatusCode.OK
