"""How much memory large answers take, and whether the event loop stays responsive while they are read."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from benchmarks.scaling import measure_sizes
from tests.end_to_end.callers import ACME, Callers
from tests.end_to_end.conftest import running
from tests.load.asking import ask_until
from tests.load.conftest import Stage
from tests.load.questions import LISTS, made, stored
from tests.support.full_counts import FullCounts
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import EndlessBody, Fault, GzipBomb, RawBody

MIB = 2**20
SAMPLE_SECONDS = 0.01


class Most:
    """The most memory that a process was seen to hold, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def watched(pid: int) -> Iterator[Most]:
    """Looks at a process for the time of a block, from a thread: this process may be busy itself."""
    most, process, over = Most(), psutil.Process(pid), threading.Event()

    def look() -> None:
        while not over.wait(SAMPLE_SECONDS):
            most.bytes = max(most.bytes, process.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        over.set()
        looking.join()
        most.bytes = max(most.bytes, process.memory_info().rss)


@pytest.mark.load
async def test_many_large_lists_at_a_time_are_right_and_take_little_memory(
    stage: Stage, load: FullCounts
) -> None:
    """MATRIX R1."""
    count, clients = load.count(10_000, short=500), load.count(64, short=8)
    rooms = made(count, metadata_bytes=1024)
    lists = [question for question in rooms.questions() if question.path == LISTS]
    calls = load.count(20 * 64, short=16)
    async with stored(stage.redis, rooms):
        with watched(stage.pids["service"]) as most:
            tally = await ask_until(stage.url, lists, clients, lambda tally: tally.calls >= calls)
    assert (tally.right, tally.wrong) == (tally.calls, [])
    assert most.bytes <= 300 * MIB
    resident = most.bytes // MIB
    load.figure("R1", f"{tally.right:,} lists, {clients} at a time: all right; {resident} MiB resident")


@dataclass(frozen=True)
class Capped:
    """TenantRooms that takes no larger answer than `cap` bytes, and its log."""

    double: LiveKitDouble
    callers: Callers
    cap: int
    log: Path


@pytest.fixture(scope="module")
async def capped(load: FullCounts, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Capped]:
    cap = load.count(256, short=4) * MIB
    settings = {"AUTH_REQUIRED": "true", "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": "30"}
    settings |= {"TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES": str(cap), "TENANTROOMS_EDGE_TIMEOUT_SECONDS": "40"}
    logs = tmp_path_factory.mktemp("capped")
    async with LiveKitDouble() as double, running(double, logs, settings) as callers:
        double.put_room("own", owner="acme")
        yield Capped(double, callers, cap, logs / "service.log")


@pytest.mark.load
@pytest.mark.parametrize("what", ["an endless list", "a declared length", "a bomb", "rooms over the cap"])
async def test_an_answer_over_the_cap_is_a_fault_and_is_not_kept(
    capped: Capped, load: FullCounts, what: str
) -> None:
    """MATRIX U6 and R2."""
    room = made(1, metadata_bytes=512 * 1024).rooms[0].SerializeToString()
    record = b"\x0a" + _varint(len(room)) + room
    faults: dict[str, Fault] = {
        "an endless list": EndlessBody(),
        "a declared length": RawBody(bytes(capped.cap + 1)),
        "a bomb": GzipBomb(4 * capped.cap),
        "rooms over the cap": EndlessBody(chunk=record, limit=10_000 * len(record)),
    }
    callers, pid = capped.callers, capped.callers.stack.service.pid
    assert await callers.rest_names(ACME) == ["own"]
    before, logged = psutil.Process(pid).memory_info().rss, len(capped.log.read_text())
    capped.double.script_always("ListRooms", faults[what])
    with watched(pid) as most:
        answers = await asyncio.gather(*(callers.rest(LISTS, ACME) for _ in range(4)))
    fault = (500, b'{"error":"Failed to list rooms"}')
    assert {(answer.status, answer.body) for answer in answers} == {fault}
    capped.double.heal()
    assert await callers.rest_names(ACME) == ["own"]
    advice = "TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES" in capped.log.read_text()[logged:]
    assert advice == (what != "a bomb"), "which is refused for being packed"
    grown = most.bytes - before
    # What the process itself is made of counts with the default cap only, beside which it is little.
    assert (most.bytes if load.full else grown - 64 * MIB) <= 2 * capped.cap
    row = "R2" if what == "rooms over the cap" else f"U6 ({what})"
    resident = most.bytes // MIB
    load.figure(
        row, f"{resident} MiB resident, {grown // MIB} of them for it; the cap is {capped.cap // MIB}"
    )


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


@pytest.mark.load
async def test_the_loop_stays_responsive_while_all_rooms_are_read(load: FullCounts) -> None:
    """MATRIX R4."""
    (passed,) = await measure_sizes([load.count(100_000, short=1_000)])
    p99, most = passed.lag_p99_ms, passed.lag_max_ms
    size = f"{passed.rooms:,} rooms, {passed.answer_bytes // 10**6} MB"
    load.figure("R4", f"{size}: lag p99 {p99:.1f}, max {most:.1f} ms")
    assert p99 <= 20 * (1 if load.full else 10)
    assert most <= 100 * (1 if load.full else 10)
