"""How much a stream takes before it waits for who reads its answers."""

import asyncio
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from service.answer_space import space_for
from service.relay import outbox, stream
from service.relay.stream import MOST_CALLS
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import LIST_ROOMS, Context
from tests.service.relay_calls import outcome_of, relayed, relaying
from tests.service.relay_streams import TOKEN, Gate, room, serving

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


async def test_a_call_that_waits_to_begin_waits_in_its_own_time(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MOST_CALLS", 1)
    async with serving(gate) as served, relaying(served.channel) as caller:
        await caller.send(room("first", 1), room("late", 2, milliseconds=20), room("last", 3))
        await gate.until_waiting("first")
        await asyncio.sleep(0.05)
        gate.let("first")
        assert (await caller.answer()).id == 1
        late = await caller.answer()
        assert (late.id, outcome_of(late).code) == (2, StatusCode.DEADLINE_EXCEEDED)
        await gate.until_waiting("last")
        assert "late" not in gate.waiting


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
