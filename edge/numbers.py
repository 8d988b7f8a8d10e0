"""Owns the numbers that the edge counts: which there are, and the memory in which all its workers count.

Each worker process has a row of its own in memory that they share with the process that started them, which
adds the rows up when somebody looks. Counting is one addition, without a lock or a file. Rows outlive
their workers, so no count is ever lost, and a new worker goes on with the row of one that has ended.
Before it: `watch`. After it: `metrics` shows the sums.
"""

import ctypes
import multiprocessing
import os
from bisect import bisect_left
from contextlib import suppress
from typing import Final

ROUTES: Final = ("home", "rooms", "room", "docs", "health", "other")
STATUSES: Final = (
    *("200", "204", "400", "401", "403", "404", "405", "408", "413", "414", "429"),
    *("431", "499", "500", "502", "503", "504", "other"),
)
"""499 is a caller that hung up."""
TIMED: Final = ("rooms", "room")
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the histogram's buckets."""
CODES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED"),
    *("OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
)
"""gRPC's. Written out, as gRPC must not be loaded by the process that forks workers."""
RPCS: Final = ("ListRooms", "GetRoom")
RELAY: Final = ("open", "nobody", "refused")
LIMITS: Final = ("credential_calls", "address_calls", "anonymous_rate", "tenant_rate")
"""The edge's own, over which a request may be; `edge.admission` says what they are."""

STORE: Final = ("success", "failure")
"""How a question to the Redis that counts requests ended."""

_BUCKETS: Final = len(SECONDS) + 1

# Where each group of numbers begins in a row.
_IN_FLIGHT: Final = 0
_RELAY_OPEN: Final = 1
_GAUGES: Final = 2
_REQUESTS: Final = _GAUGES
_TIMES: Final = _REQUESTS + len(ROUTES) * len(STATUSES)
_SUMS: Final = _TIMES + len(TIMED) * _BUCKETS
_CALLS: Final = _SUMS + len(TIMED)
_RELAY: Final = _CALLS + len(RPCS) * len(CODES)
_REFUSALS: Final = _RELAY + len(RELAY)
_STORE: Final = _REFUSALS + len(LIMITS)
WIDTH: Final = _STORE + len(STORE)

_STATUS_PLACE: Final = {int(status): place for place, status in enumerate(STATUSES[:-1])}
_REQUEST_ROW: Final = {route: _REQUESTS + at * len(STATUSES) for at, route in enumerate(ROUTES)}
_TIME_ROW: Final = {route: (_TIMES + at * _BUCKETS, _SUMS + at) for at, route in enumerate(TIMED)}
_CALL_PLACE: Final = {
    (rpc, code): _CALLS + at * len(CODES) + place
    for at, rpc in enumerate(RPCS)
    for place, code in enumerate(CODES)
}


class Row:
    """What one worker counts.

    Args:
        numbers: memory of its own.
        start: where in it the row begins.
    """

    def __init__(self, numbers: "ctypes.Array[ctypes.c_double]", start: int = 0) -> None:
        self._numbers = numbers
        self._start = start

    def began(self) -> None:
        """A request has come."""
        self._numbers[self._start + _IN_FLIGHT] += 1

    def ended(self, route: str, status: int, seconds: float) -> None:
        """A request has ended.

        Args:
            route: one of `ROUTES`.
            status: of its answer; 499 where the caller hung up.
            seconds: how long it took.
        """
        numbers, start = self._numbers, self._start
        numbers[start + _IN_FLIGHT] -= 1
        numbers[start + _REQUEST_ROW[route] + _STATUS_PLACE.get(status, len(STATUSES) - 1)] += 1
        if (timed := _TIME_ROW.get(route)) is not None:
            numbers[start + timed[0] + bisect_left(SECONDS, seconds)] += 1
            numbers[start + timed[1]] += seconds

    def called(self, rpc: str, code: str) -> None:
        """The service has been called.

        Args:
            rpc: one of `RPCS`.
            code: the name of the status that came back.
        """
        self._numbers[self._start + _CALL_PLACE[rpc, code]] += 1

    def refused(self, limit: str) -> None:
        """A request is over this limit, one of `LIMITS`."""
        self._numbers[self._start + _REFUSALS + LIMITS.index(limit)] += 1

    def rate_store_asked(self, success: bool) -> None:
        """The Redis that counts requests was asked, and has answered or not."""
        self._numbers[self._start + _STORE + (not success)] += 1

    def relay_tried(self, outcome: str) -> None:
        """A stream to the service was to be opened; `outcome` is one of `RELAY`."""
        self._numbers[self._start + _RELAY + RELAY.index(outcome)] += 1
        self._numbers[self._start + _RELAY_OPEN] = float(outcome == "open")

    def relay_lost(self) -> None:
        """The stream to the service is no more."""
        self._numbers[self._start + _RELAY_OPEN] = 0


def lone_row() -> Row:
    """A row that nobody reads."""
    return Row((ctypes.c_double * WIDTH)())


class Rows:
    """The rows of all workers: made by the process that starts them, and handed to each.

    Args:
        workers: how many there are. Twice as many can be at work while they are replaced.
    """

    def __init__(self, workers: int) -> None:
        self._count = 4 * workers + 4
        self._numbers = multiprocessing.RawArray(ctypes.c_double, self._count * WIDTH)
        self._owners = multiprocessing.RawArray(ctypes.c_int, self._count)
        self._lock = multiprocessing.Lock()

    def claim(self) -> Row:
        """A row for the process that asks, which keeps it until it ends."""
        with self._lock:
            for place in range(self._count):
                if not _is_alive(self._owners[place]):
                    self._owners[place] = os.getpid()
                    start = place * WIDTH
                    self._numbers[start : start + _GAUGES] = [0.0] * _GAUGES
                    return Row(self._numbers, start)
        return lone_row()

    def pids(self) -> dict[int, int]:
        """The processes of the workers that live, by the places of their rows."""
        return {place: pid for place, pid in enumerate(self._owners) if _is_alive(pid)}

    def sums(self) -> "Sums":
        """All rows added up; of what is so just now, only those of workers that live."""
        alive = [place for place in range(self._count) if _is_alive(self._owners[place])]
        used = [place for place in range(self._count) if self._owners[place]]
        numbers = self._numbers[:]
        total = [
            sum(numbers[place * WIDTH + at] for place in (alive if at < _GAUGES else used))
            for at in range(WIDTH)
        ]
        return Sums(total, len(alive))


class Sums:
    """What all workers have counted.

    Attributes:
        workers: how many there are.
        in_flight: requests under way.
        relay_open: workers with a stream to the service.
    """

    def __init__(self, numbers: list[float], workers: int) -> None:
        self._numbers = numbers
        self.workers = workers
        self.in_flight = numbers[_IN_FLIGHT]
        self.relay_open = numbers[_RELAY_OPEN]

    def requests(self, route: str, status: str) -> float:
        """Requests of this route with this status."""
        return self._numbers[_REQUEST_ROW[route] + STATUSES.index(status)]

    def times(self, route: str) -> tuple[list[float], float]:
        """How many requests fell into each bucket, the last of which has no bound, and the sum of seconds."""
        buckets, total = _TIME_ROW[route]
        return self._numbers[buckets : buckets + _BUCKETS], self._numbers[total]

    def calls(self, rpc: str, code: str) -> float:
        """Calls of the service with this outcome."""
        return self._numbers[_CALL_PLACE[rpc, code]]

    def refusals(self, limit: str) -> float:
        """Requests that were over this limit."""
        return self._numbers[_REFUSALS + LIMITS.index(limit)]

    def rate_store(self, outcome: str) -> float:
        """Questions to the Redis that counts requests that ended so."""
        return self._numbers[_STORE + STORE.index(outcome)]

    def relay_tries(self, outcome: str) -> float:
        """How often opening a stream went so."""
        return self._numbers[_RELAY + RELAY.index(outcome)]


def _is_alive(pid: int) -> bool:
    if not pid:
        return False
    try:
        with suppress(PermissionError):  # it lives, as somebody else
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
