"""Owns what is measured: the loads, who carries them, and in which order.

Step before: `benchmarks.__main__` knows which form is wanted. Step after: `benchmarks.run` measures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Final

from benchmarks.layout import TENANTS, Store

__all__ = ["FULL", "QUICK", "Cell", "Driver", "Form", "Kind", "Load", "Peer", "Protocol"]


MOST_FOR_ALL_ALONE: Final = 10_000
"""Rooms up to which 64 callers can each have a scan of their own: with more it takes them minutes."""


BARE_ROOMS: Final = 100
"""Rooms of the list that is asked for of bare grpc.aio, too."""


class Kind(Enum):
    """What the callers ask for."""

    LIST = "list"
    DISTINCT = "details of 100 rooms"
    POLLED = "details of 2 rooms"


class Peer(Enum):
    """Who answers."""

    SCAN = "scan"
    PLAIN = "plain"
    TENANTROOMS = "TenantRooms"
    MINIMIZE = "TenantRooms, minimize_latency"
    BARE = "bare grpc.aio"


class Protocol(Enum):
    """How the callers ask."""

    REST = "REST"
    GRPC = "gRPC"
    TWIRP = "Twirp"


class Driver(Enum):
    """Which program plays the callers."""

    WRK = "wrk"
    ASYNCIO = "asyncio"


@dataclass(frozen=True, slots=True)
class Load:
    """So many callers, of so many tenants, ask for the same kind of thing, each as fast as it is answered."""

    kind: Kind
    rooms: int
    tenants: int
    callers: int

    @property
    def store(self) -> Store:
        """What LiveKit holds meanwhile."""
        return Store(self.rooms, self.tenants)


@dataclass(frozen=True, slots=True)
class Cell:
    """A load, and who carries it."""

    load: Load
    peer: Peer
    protocol: Protocol

    @property
    def driver(self) -> Driver:
        """wrk, which costs least, unless answers are so slow that those under way at the end matter.

        Both sides of a ratio have the same driver.
        """
        slow = self.load.kind is Kind.LIST and self.load.rooms >= 10_000 and self.peer is not Peer.MINIMIZE
        quick = self.protocol is Protocol.REST and not slow
        return Driver.WRK if quick else Driver.ASYNCIO

    def __str__(self) -> str:
        load = self.load
        whose = "one tenant" if load.tenants == 1 else f"{load.tenants} tenants"
        callers = "1 caller" if load.callers == 1 else f"{load.callers} callers of {whose}"
        return f"{load.kind.value}, {load.rooms:,} rooms, {callers}, {self.peer.value}, {self.protocol.value}"


@dataclass(frozen=True, slots=True)
class Form:
    """How much is measured.

    Attributes:
        name: what it is called.
        sizes: numbers of rooms with callers of one tenant.
        many_tenants_sizes: numbers of rooms with callers of 64 tenants.
        details: whether details are measured too.
        rounds: how often everything is measured.
        seconds: how long one cell is measured, unless its answers take a second each.
        warm_up: seconds before that; a whole one where wrk calls, unless it is 0.
        budget: seconds for all cells; one that has not begun by then is left out.
    """

    name: str
    sizes: tuple[int, ...]
    many_tenants_sizes: tuple[int, ...]
    details: bool
    rounds: int
    seconds: int
    warm_up: float
    budget: float

    def seconds_for(self, cell: Cell) -> int:
        """How long this cell is measured."""
        load = cell.load
        slow = load.kind is Kind.LIST and load.rooms > MOST_FOR_ALL_ALONE and cell.peer is not Peer.MINIMIZE
        return self.seconds * (3 if slow else 1)

    def cells(self) -> list[Cell]:
        """Everything that is measured in one round; cells of one store are next to each other."""
        cells = [*self._lists(), *(self._details() if self.details else ())]
        return sorted(cells, key=lambda cell: (cell.load.rooms, cell.load.tenants))

    def by_store(self) -> list[tuple[Store, list[Cell]]]:
        """The cells of a round by store; small ones first, as memory once taken is seldom returned."""
        return [(store, list(cells)) for store, cells in groupby(self.cells(), lambda cell: cell.load.store)]

    def _lists(self) -> Iterator[Cell]:
        for rooms in self.sizes:
            for callers in (1, 64):
                load = Load(Kind.LIST, rooms, 1, callers)
                if callers == 1 or rooms <= MOST_FOR_ALL_ALONE:
                    yield Cell(load, Peer.SCAN, Protocol.TWIRP)
                yield from _peers(load)
                if callers == 64 and rooms == BARE_ROOMS:
                    yield Cell(load, Peer.BARE, Protocol.GRPC)
        for rooms in self.many_tenants_sizes:
            yield from _peers(Load(Kind.LIST, rooms, TENANTS, 64))

    def _details(self) -> Iterator[Cell]:
        for kind, tenants, callers in (
            (Kind.DISTINCT, 1, 1),
            (Kind.DISTINCT, 1, 64),
            (Kind.POLLED, 1, 64),
            (Kind.DISTINCT, TENANTS, 64),
        ):
            load = Load(kind, 1_000, tenants, callers)
            yield Cell(load, Peer.PLAIN, Protocol.REST)
            yield Cell(load, Peer.TENANTROOMS, Protocol.REST)
            yield Cell(load, Peer.TENANTROOMS, Protocol.GRPC)
            if callers == 64 and tenants == 1:
                yield Cell(load, Peer.BARE, Protocol.GRPC)


def _peers(load: Load) -> Iterator[Cell]:
    if load.rooms <= MOST_FOR_ALL_ALONE:
        yield Cell(load, Peer.PLAIN, Protocol.REST)
    for peer in (Peer.TENANTROOMS, Peer.MINIMIZE):
        yield Cell(load, peer, Protocol.REST)
        yield Cell(load, peer, Protocol.GRPC)


FULL = Form(
    "full",
    sizes=(10, 100, 1_000, 10_000, 100_000),
    many_tenants_sizes=(10, 100, 1_000, 10_000, 100_000),
    details=True,
    rounds=3,
    seconds=2,
    warm_up=0.5,
    budget=24 * 60,
)

QUICK = Form(
    "quick",
    sizes=(100, 10_000),
    many_tenants_sizes=(1_000,),
    details=True,
    rounds=1,
    seconds=1,
    warm_up=0.0,
    budget=90,
)
