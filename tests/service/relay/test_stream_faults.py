"""What garbage, misfits and faults on a stream come to, and that no other call suffers."""

from typing import Any

import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from service.relay.calls import RelayedCalls
from service.relay.outbox import Outbox
from tenantrooms.relay.v1 import relay_pb2
from tests.service.grpc_calls import LIST_ROOMS
from tests.service.relay_calls import RelayCaller, outcome_of, relayed, relaying
from tests.service.relay_streams import TOKEN, Gate, ended, room, serving

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
