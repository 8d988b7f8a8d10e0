"""Owns what one pass of the room directory costs by itself: time, memory and loop lag, by number of rooms.

No network takes part: a source gives prepared bytes. Each size is measured in a process of its own, which
`python -m benchmarks.scaling ROOMS` is.

Step before: `benchmarks.__main__`. Step after: `service.directory`.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

import psutil
import uvloop
from livekit.protocol.models import Codec, ParticipantInfo, Room
from livekit.protocol.room import ListRoomsResponse

from benchmarks.figures import fitted_exponent, percentile
from benchmarks.layout import Store, tenant_name
from benchmarks.upstream import record_of
from service.auth.principal import OneTenant, TenantId
from service.consistency import Consistency
from service.directory import Directory
from service.ownership import owner_of
from service.room_records import room_records
from service.servicer import room_summary
from tools.child_process import basic_environment
from tools.stack import IMPORT_ROOTS, ROOT

__all__ = ["Pass", "exponents", "main", "measure_sizes"]

SIZES: Final = (1_000, 10_000, 100_000)
PASSES: Final = 9
CHANGED: Final = 100
"""One room in so many differs between two passes."""

TICK_SECONDS: Final = 0.001
INDEX_SECONDS: Final = 60.0
"""Of no effect: nothing here asks for the mode that reads in the background."""
CODECS: Final = ("audio/PCMU", "audio/PCMA", "audio/opus", "audio/red", "video/VP8", "video/H264",
                 "video/VP9", "video/AV1", "video/H265", "video/rtx")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over so many rooms costs.

    Attributes:
        rooms: in LiveKit's answer.
        answer_bytes: the length of that answer.
        first_ms: milliseconds of the first pass, when nothing is known yet.
        later_ms: the median of the passes after it, with one room in a hundred changed.
        lag_p99_ms, lag_max_ms: how much too late the event loop came back to others meanwhile.
        memory_mb: resident memory that the passes added, in units of 10⁶ bytes.
    """

    rooms: int
    answer_bytes: int
    first_ms: float
    later_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    memory_mb: float


class PreparedRooms:
    """A directory's source whose answers are ready, as they come over the wire."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = bodies
        self._asked = 0

    async def list_all_rooms(self) -> Sequence[bytes]:
        """The next body, taken apart as `service.livekit` does it."""
        body = self._bodies[self._asked % len(self._bodies)]
        self._asked += 1
        return room_records(body)

    async def list_rooms_named(self, names: Collection[str]) -> Sequence[bytes]:
        """Nothing asks for this here."""
        raise NotImplementedError

    async def list_participants(self, room_name: str) -> list[ParticipantInfo]:
        """Nothing asks for this here."""
        raise NotImplementedError


def prepared_bodies(store: Store) -> list[bytes]:
    """Two answers with all rooms of a store, each in an order of its own; some rooms differ."""
    shuffle = random.Random(store.rooms).shuffle
    sample = Room(empty_timeout=300, departure_timeout=20, turn_password="t" * 43,
                  enabled_codecs=[Codec(mime=mime) for mime in CODECS])  # fmt: skip
    bodies = []
    for version in range(2):
        records = []
        for number in range(store.rooms):
            room = record_of(sample, store.name_of(number), number, store.owner_of(number))
            if number % CHANGED == 0:
                room.num_participants += version
            records.append(ListRoomsResponse(rooms=[room]).SerializeToString())
        shuffle(records)
        bodies.append(b"".join(records))
    return bodies


async def measure_passes(rooms: int) -> Pass:
    """Let a directory pass over so many rooms, again and again. One of `benchmarks.layout.SIZES`."""
    store = Store(rooms, 1)
    bodies = prepared_bodies(store)
    directory = Directory(PreparedRooms(bodies), owner_of, room_summary, index_interval=INDEX_SECONDS)
    scope = OneTenant(TenantId(tenant_name(0)))
    process, lags = psutil.Process(), [0.0]
    before = process.memory_info().rss
    most = before
    ticking = asyncio.create_task(_tick(lags))
    times = []
    for _ in range(PASSES):
        began = time.perf_counter()
        found = await directory.rooms(scope, Consistency.FULL)
        times.append(time.perf_counter() - began)
        if len(found) != store.own:
            raise AssertionError(f"{len(found)} rooms found, {store.own} are the tenant's")
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(2 * TICK_SECONDS)
    ticking.cancel()
    return Pass(
        rooms=rooms,
        answer_bytes=len(bodies[0]),
        first_ms=times[0] * 1e3,
        later_ms=median(times[1:]) * 1e3,
        lag_p99_ms=percentile(lags, 99) * 1e3,
        lag_max_ms=max(lags) * 1e3,
        memory_mb=(most - before) / 1e6,
    )


async def _tick(lags: list[float]) -> None:
    """Ask for the event loop every millisecond, and note by how much it comes late."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        lags.append(max(0.0, time.perf_counter() - began - TICK_SECONDS))


async def measure_sizes(sizes: Sequence[int] = SIZES) -> list[Pass]:
    """One pass at each size, each in its own process. Raises RuntimeError when one fails."""
    passes = []
    for rooms in sizes:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.scaling", str(rooms)),
            stdout=asyncio.subprocess.PIPE,
            env=basic_environment(os.environ) | {"PYTHONPATH": ":".join(map(str, IMPORT_ROOTS))},
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise RuntimeError(f"the pass over {rooms:,} rooms failed; its errors are above")
        passes.append(Pass(**json.loads(output)))
    return passes


def exponents(passes: Sequence[Pass]) -> Mapping[str, float]:
    """By figure, the k of cost = c·roomsᵏ; about 1 where cost grows as the rooms do."""
    return {
        name: fitted_exponent([(one.rooms, max(getattr(one, name), 0.001)) for one in passes])
        for name in ("first_ms", "later_ms", "memory_mb")
    }


def main() -> int:
    """Measure the size named on the command line, and print the figures as JSON."""
    print(json.dumps(asdict(uvloop.run(measure_passes(int(sys.argv[1]))))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
