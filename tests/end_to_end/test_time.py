"""How long callers wait when LiveKit is away, slow or flawed for a moment, and what that costs LiveKit.

Bounds of time are ten times as wide as what is meant: they tell a wait from none.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest

from tenantrooms_client import TenantRoomsError
from tests.end_to_end.callers import ACME, Callers
from tests.end_to_end.conftest import running
from tests.support.full_counts import FullCounts
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import Fault, Hang, PlainText, Reset, Trickle, TwirpError

UPSTREAM_SECONDS = 0.5
LIST, OWN = "/livekit/rooms", "/livekit/rooms/own"
FAILED = {LIST: {"error": "Failed to list rooms"}, OWN: {"error": "Failed to get room details"}}


@pytest.fixture(scope="module")
async def double_and_callers(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[LiveKitDouble, Callers]]:
    settings = {"AUTH_REQUIRED": "true", "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": str(UPSTREAM_SECONDS)}
    async with LiveKitDouble() as double:
        double.put_room("own", owner="acme")
        double.put_room("foreign", owner="globex")
        async with running(double, tmp_path_factory.mktemp("time"), settings) as callers:
            yield double, callers


async def fault_after(callers: Callers, path: str) -> float:
    """Seconds until the caller is told that LiveKit failed."""
    began = time.monotonic()
    answer = await callers.rest(path, ACME)
    seconds = time.monotonic() - began
    assert (answer.status, answer.json) == (500, FAILED[path])
    return seconds


@pytest.mark.load
async def test_who_refuses_to_be_connected_to_is_told_of_at_once(
    double: LiveKitDouble, callers: Callers, load: FullCounts
) -> None:  # MATRIX U1
    await double.stop()
    try:
        took = [await fault_after(callers, path) for path in (LIST, OWN)]
    finally:
        await double.start()
    assert (await callers.rest(OWN, ACME)).status == 200
    load.figure("U1", f"refused: told after {max(took) * 1000:.0f} ms at most")
    assert max(took) <= load.bound(0.5)


@pytest.mark.parametrize("fault", [Hang(), Trickle(seconds_per_byte=0.05)], ids=["hangs", "trickles"])
@pytest.mark.load
async def test_who_never_ends_is_waited_for_no_longer_than_is_set(
    double: LiveKitDouble, callers: Callers, fault: Fault, load: FullCounts
) -> None:  # MATRIX U2
    double.script_always("ListRooms", fault)
    took = [await fault_after(callers, path) for path in (LIST, OWN)]
    assert min(took) >= UPSTREAM_SECONDS
    assert len(double.requests) == 2  # no second try
    name = type(fault).__name__.lower()
    load.figure(f"U2 ({name})", f"{(max(took) - UPSTREAM_SECONDS) * 1000:.0f} ms over the deadline at most")
    assert max(took) <= UPSTREAM_SECONDS + load.bound(0.1)


async def test_a_caller_waits_no_longer_than_its_own_deadline(
    double: LiveKitDouble, callers: Callers
) -> None:  # MATRIX U2
    double.script_always("ListRooms", Hang())
    began = time.monotonic()
    with pytest.raises(TenantRoomsError) as failure:
        await callers.grpc.get_room("own", token=ACME, timeout=0.1)
    assert failure.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < UPSTREAM_SECONDS
    call = await double.next_request()
    await call.finished()
    assert call.aborted


PASSING: dict[str, Fault] = {
    "500": TwirpError("internal"),
    "502": PlainText(502),
    "503": TwirpError("unavailable"),
    "504": PlainText(504),
    "a connection that is reset": Reset(share=None),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_a_passing_fault_is_not_seen_and_costs_one_more_call(
    double: LiveKitDouble, callers: Callers, fault: Fault
) -> None:  # MATRIX U3
    for path in (LIST, OWN):
        double.forget()
        double.script("ListRooms", fault)
        assert (await callers.rest(path, ACME)).status == 200
        assert [call.method for call in double.requests if call.method == "ListRooms"] == ["ListRooms"] * 2
    double.forget()
    double.script("ListParticipants", fault)
    assert (await callers.rest(OWN, ACME)).status == 200
    methods = [call.method for call in double.requests]
    assert methods == ["ListRooms", "ListParticipants", "ListParticipants"]


async def test_a_room_that_may_not_be_seen_is_asked_for_again_just_like_any_other(
    double: LiveKitDouble, callers: Callers
) -> None:
    answers = set()
    for name in ("absent", "foreign"):
        double.forget()
        double.script("ListRooms", TwirpError("unavailable"))
        answer = await callers.rest_room(name, ACME)
        answers.add((answer.status, answer.body))
        assert [(call.method, call.names) for call in double.requests] == [("ListRooms", [name])] * 2
    assert len(answers) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429])
async def test_what_livekit_refuses_is_not_asked_again(
    double: LiveKitDouble, callers: Callers, status: int
) -> None:  # MATRIX U5
    double.script_always("ListRooms", PlainText(status))
    await fault_after(callers, LIST)
    assert len(double.requests) == 1


async def test_a_lasting_fault_costs_two_calls(double: LiveKitDouble, callers: Callers) -> None:
    double.script_always("ListRooms", TwirpError("unavailable"))
    await fault_after(callers, OWN)
    assert len(double.requests) == 2


async def _ask(callers: Callers, *, by_grpc: bool) -> None:
    if by_grpc:
        await callers.grpc.get_room("own", token=ACME)
    else:
        await callers.rest(OWN, ACME)


@pytest.mark.load
async def test_callers_that_leave_leave_nothing_behind(
    double: LiveKitDouble, callers: Callers, load: FullCounts
) -> None:  # MATRIX C1
    in_all, at_once = load.count(10_000, short=200), 50
    slowest = 0.0
    for done in range(0, in_all, at_once):
        load.progress("calls that are cancelled", done, in_all)
        double.forget()
        held = double.hold("ListRooms")
        calling = [asyncio.create_task(_ask(callers, by_grpc=bool(number % 2))) for number in range(at_once)]
        await held.reached()
        # Only this one has no answer yet: callers of the last round may still be on their way.
        (asked,) = (call for call in double.calls("ListRooms") if call.answered is None)
        left = asyncio.get_running_loop().time()
        for caller in calling:
            caller.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
        await asked.finished()
        assert asked.aborted
        assert asked.answered is not None
        slowest = max(slowest, asked.answered - left)
        double.heal()
    assert (await callers.rest(OWN, ACME)).status == 200
    load.figure("C1", f"{in_all:,} calls cancelled; upstream aborted after {slowest * 1000:.0f} ms at most")
    assert slowest <= load.bound(0.1)
