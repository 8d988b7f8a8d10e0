"""Owns the speed to reach: each target as a ratio of two cells, and whether the measured one meets it.

Step before: `benchmarks.run` has measured. Step after: `benchmarks.report` writes it down.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.figures import Figures
from benchmarks.layout import TENANTS
from benchmarks.plan import Cell, Kind, Load, Peer, Protocol

__all__ = ["TARGETS", "Target", "Verdict", "judge"]

REST, GRPC = Protocol.REST, Protocol.GRPC


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached.

    Attributes:
        row: which load, for a person.
        text: the target, for a person.
        subject: the cell that is to reach it.
        yardstick: the cell that it is compared with; None where the figure itself counts.
        figure: which figure of the subject.
        against: which figure of the yardstick, if not the same.
        bound: what the ratio, or the figure, must reach.
        at_most: whether it must not be above `bound`; else not below.
    """

    row: str
    text: str
    subject: Cell
    yardstick: Cell | None
    figure: Callable[[Figures], float]
    bound: float
    at_most: bool
    against: Callable[[Figures], float] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, what was measured, and whether it is met; None where it was not measured."""

    target: Target
    measured: float | None
    met: bool | None


def _throughput(figures: Figures) -> float:
    return figures.per_second


def _p50(figures: Figures) -> float:
    return figures.p50_ms


def _p99(figures: Figures) -> float:
    return figures.p99_ms


def _service_memory(figures: Figures) -> float:
    return figures.memory_mb.get("service", 0.0)


def _answered(figures: Figures) -> float:
    return 0.0 if figures.problems else 1.0


def _list(rooms: int, callers: int, peer: Peer, *, tenants: int = 1) -> Cell:
    return Cell(Load(Kind.LIST, rooms, tenants, callers), peer, REST)


def _scan(rooms: int) -> Cell:
    return Cell(Load(Kind.LIST, rooms, 1, 1), Peer.SCAN, Protocol.TWIRP)


def _one_tenant() -> Iterator[Target]:
    latency = {10: 1.5, 100: 1.2, 1_000: 0.85, 10_000: 0.75}
    throughput = {10: 6, 100: 8, 1_000: 18, 10_000: 60}
    for rooms, bound in latency.items():
        one, plain = _list(rooms, 1, Peer.TENANTROOMS), _list(rooms, 1, Peer.PLAIN)
        row = f"list, {rooms:,} rooms"
        yield Target(f"{row}, 1 caller", f"p50 ≤ {bound}× plain", one, plain, _p50, bound, at_most=True)
        many, plain = _list(rooms, 64, Peer.TENANTROOMS), _list(rooms, 64, Peer.PLAIN)
        least = throughput[rooms]
        yield Target(
            f"{row}, 64 callers",
            f"throughput ≥ {least}× plain",
            many,
            plain,
            _throughput,
            least,
            at_most=False,
        )
    for rooms in (10_000, 100_000):
        one = _list(rooms, 1, Peer.TENANTROOMS)
        row = f"list, {rooms:,} rooms, 1 caller"
        yield Target(row, "p50 ≤ 1.1× scan", one, _scan(rooms), _p50, 1.1, at_most=True)
    row, many = "list, 100,000 rooms, 64 callers", _list(100_000, 64, Peer.TENANTROOMS)
    yield Target(row, "every call answered", many, None, _answered, 1, at_most=False)
    yield Target(row, "p99 ≤ 3 scans", many, _scan(100_000), _p99, 3, at_most=True, against=_p50)
    row = "memory of the service, 100,000 rooms"
    yield Target(row, "≤ 300 MB", many, None, _service_memory, 300, at_most=True)


def _minimize_latency() -> Iterator[Target]:
    row = "list, `MINIMIZE_LATENCY`"
    small, large = (_list(rooms, 1, Peer.MINIMIZE) for rooms in (100, 100_000))
    yield Target(
        f"{row}, 1 caller", "p50 at 100,000 rooms ≤ 1.5× at 100", large, small, _p50, 1.5, at_most=True
    )
    for tenants in (1, TENANTS):
        whose = "" if tenants == 1 else f" of {tenants} tenants"
        many = _list(1_000, 64, Peer.MINIMIZE, tenants=tenants)
        yield Target(
            f"{row}, 1,000 rooms, 64 callers{whose}",
            "throughput ≥ 15× plain",
            many,
            _list(1_000, 64, Peer.PLAIN, tenants=tenants),
            _throughput,
            15,
            at_most=False,
        )
        # Flat where each tenant has as many rooms of its own: of 64 tenants, 15 at 1,000 and then 100.
        least = 1_000 if tenants == 1 else 10_000
        for rooms in (10_000, 100_000):
            if rooms == least:
                continue
            yield Target(
                f"{row}, {rooms:,} rooms, 64 callers{whose}",
                f"flat: throughput ≥ 0.8× at {least:,}",
                _list(rooms, 64, Peer.MINIMIZE, tenants=tenants),
                _list(least, 64, Peer.MINIMIZE, tenants=tenants),
                _throughput,
                0.8,
                at_most=False,
            )


def _many_tenants() -> Iterator[Target]:
    for rooms, bound in {10: 4, 100: 4, 1_000: 15, 10_000: 50}.items():
        yield Target(
            f"list, {rooms:,} rooms, 64 callers of 64 tenants",
            f"throughput ≥ {bound}× plain",
            _list(rooms, 64, Peer.TENANTROOMS, tenants=TENANTS),
            _list(rooms, 64, Peer.PLAIN, tenants=TENANTS),
            _throughput,
            bound,
            at_most=False,
        )


def _details() -> Iterator[Target]:
    for kind, tenants, bound in (
        (Kind.DISTINCT, 1, 3.5),
        (Kind.POLLED, 1, 6.0),
        (Kind.DISTINCT, TENANTS, 3.0),
    ):
        load = Load(kind, 1_000, tenants, 64)
        whose = "" if tenants == 1 else f" of {tenants} tenants"
        yield Target(
            f"{kind.value}, 64 callers{whose}",
            f"throughput ≥ {bound:g}× plain",
            Cell(load, Peer.TENANTROOMS, REST),
            Cell(load, Peer.PLAIN, REST),
            _throughput,
            bound,
            at_most=False,
        )


def _grpc() -> Iterator[Target]:
    lists = [
        (Load(Kind.LIST, rooms, tenants, 64), peer)
        for peer in (Peer.TENANTROOMS, Peer.MINIMIZE)
        for tenants in (1, TENANTS)
        for rooms in (10, 100, 1_000, 10_000, 100_000)
    ]
    details = [
        (Load(kind, 1_000, tenants, 64), Peer.TENANTROOMS)
        for kind, tenants in ((Kind.DISTINCT, 1), (Kind.POLLED, 1), (Kind.DISTINCT, TENANTS))
    ]
    for rooms in (10, 100, 1_000, 10_000, 100_000):
        alone = Load(Kind.LIST, rooms, 1, 1)
        yield Target(
            f"gRPC: list, {rooms:,} rooms, 1 caller",
            "p50 ≤ REST's",
            Cell(alone, Peer.TENANTROOMS, GRPC),
            Cell(alone, Peer.TENANTROOMS, REST),
            _p50,
            1.0,
            at_most=True,
        )
    for load, peer in lists + details:
        subject = Cell(load, peer, GRPC)
        whose = "" if load.tenants == 1 else f" of {load.tenants} tenants"
        what = f"{load.kind.value}, {load.rooms:,} rooms" if load.kind is Kind.LIST else load.kind.value
        mode = ", `MINIMIZE_LATENCY`" if peer is Peer.MINIMIZE else ""
        yield Target(
            f"gRPC: {what}{mode}, 64 callers{whose}",
            "throughput ≥ REST's",
            subject,
            Cell(load, peer, REST),
            _throughput,
            1.0,
            at_most=False,
        )


TARGETS: Final[Sequence[Target]] = (
    *_one_tenant(),
    *_minimize_latency(),
    *_details(),
    *_many_tenants(),
    *_grpc(),
)


def judge(target: Target, results: Mapping[Cell, Sequence[Figures]]) -> Verdict:
    """Hold what was measured against a target.

    A ratio is taken round by round, as the two sides of a round are minutes apart at most, and the median of
    these counts. A target is missed when any answer was wrong or missing on its own side; it is not measured
    when the yardstick failed.
    """
    subject = results.get(target.subject)
    if not subject:
        return Verdict(target, None, None)
    own = [target.figure(figures) for figures in subject]
    if target.yardstick is None:
        measured = max(own) if target.at_most else min(own)
    else:
        yardstick = results.get(target.yardstick)
        if not yardstick or any(figures.problems for figures in yardstick):
            return Verdict(target, None, None)
        others = [(target.against or target.figure)(figures) for figures in yardstick]
        measured = median(mine / other for mine, other in zip(own, others, strict=False))
    reached = measured <= target.bound if target.at_most else measured >= target.bound
    return Verdict(target, measured, reached and not any(figures.problems for figures in subject))
