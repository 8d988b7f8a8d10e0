"""When a call over the relay ends without its answer, and how many there may be."""

import pytest

from edge.relay import client as relay_client
from edge.relay import stream
from edge.relay.client import RelayClient
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms_client.errors import (
    DeadlineExceeded,
    ResourceExhausted,
)
from tests.edge.fake_relay import FakeRelay
from tests.edge.relay_calls import FakeUnary, asked_for, asking, opened, response

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
