"""Owns how a run is written down: one JSON file with everything, one Markdown page with tables.

Step before: `benchmarks.__main__` has all results. Step after: a reader, and `benchmarks.plots`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.figures import GENERATOR, Figures, median_of
from benchmarks.layout import SIZES, TENANTS, Store
from benchmarks.peers import PATIENT
from benchmarks.plan import Cell, Form, Kind
from benchmarks.run import Results
from benchmarks.scaling import Pass, exponents
from benchmarks.targets import TARGETS, Verdict, judge

__all__ = ["PLOTS", "Run", "as_json", "as_markdown", "left_out", "problems_of"]

PLOTS = ("throughput.svg", "latency.svg", "calls.svg")

PROCESSES = ("gateway", "bare", "edge", "service", "livekit", "redis", GENERATOR)
"""The columns of a table, where there is such a process."""


@dataclass(frozen=True, slots=True)
class Run:
    """All that one run gave."""

    form: Form
    machine: Mapping[str, str]
    settings: Mapping[str, str]
    minutes: float
    results: Results
    passes: Sequence[Pass]


def problems_of(run: Run) -> list[str]:
    """Every wrong, failed or missing answer, with its cell."""
    return [
        f"{cell}: {problem}"
        for cell, rounds in run.results.items()
        for figures in rounds
        for problem in figures.problems
    ]


def left_out(run: Run) -> list[Cell]:
    """The cells that not every round came to."""
    return [cell for cell in run.form.cells() if len(run.results.get(cell, ())) < run.form.rounds]


def as_json(run: Run) -> str:
    """Everything, every round included."""
    document: dict[str, Any] = {
        "form": asdict(run.form),
        "machine": dict(run.machine),
        "settings": dict(run.settings),
        "minutes": round(run.minutes, 1),
        "cells": [
            {
                "kind": cell.load.kind.value,
                "rooms": cell.load.rooms,
                "tenants": cell.load.tenants,
                "callers": cell.load.callers,
                "peer": cell.peer.value,
                "protocol": cell.protocol.value,
                "driver": cell.driver.value,
                "rounds": [asdict(figures) for figures in rounds],
            }
            for cell, rounds in run.results.items()
        ],
        "targets": [
            {
                "row": verdict.target.row,
                "target": verdict.target.text,
                "measured": verdict.measured,
                "met": verdict.met,
            }
            for verdict in _verdicts(run)
        ],
        "passes": [asdict(one) for one in run.passes],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def as_markdown(run: Run, plots: Sequence[str]) -> str:
    """The page; `plots` are files next to it."""
    return "\n".join(_page(run, plots)) + "\n"


def _verdicts(run: Run) -> list[Verdict]:
    return [judge(target, run.results) for target in TARGETS]


def _page(run: Run, plots: Sequence[str]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield (
        f"Written by `make bench` ({run.form.name} form, {run.minutes:.0f} minutes); everything is in "
        "[results.json](results.json). Load generators, TenantRooms, LiveKit and Redis share one machine, so "
        "compare ratios, not absolutes."
    )
    yield ""
    yield from _table(("", "measured on"), [list(pair) for pair in run.machine.items()])
    problems = problems_of(run)
    if problems:
        yield from ("**Answers were wrong or missing, so this run is void:**", "")
        yield from (f"- {problem}" for problem in problems)
        yield ""
    if cells := left_out(run):
        yield f"**The time was up before these {len(cells)} of {len(run.form.cells())} cells were measured:**"
        yield ""
        yield from (f"- {cell}" for cell in cells)
        yield ""
    yield from ("## Targets", "")
    yield from _targets(_verdicts(run))
    if plots:
        yield from ("## Against the number of rooms", "")
        yield from (f"![{plot.removesuffix('.svg')}]({plot})\n" for plot in plots)
    yield from ("## All figures", "")
    yield (
        "Medians of the rounds; the most memory. CPU is microseconds for each answer, memory is resident, in "
        "MB. *calls* is how often LiveKit was asked for each answer."
    )
    yield ""
    for cells in _groups(run.results):
        yield from _cells(cells, run.results)
    if run.passes:
        yield from _scaling(run.passes)
    yield from _method(run)


def _targets(verdicts: Sequence[Verdict]) -> Iterator[str]:
    words = {True: "met", False: "**missed**", None: "not measured"}
    rows = [
        [
            verdict.target.row,
            verdict.target.text,
            "–" if verdict.measured is None else f"{verdict.measured:.2f}",
            words[verdict.met],
        ]
        for verdict in verdicts
    ]
    yield from _table(("load", "target", "measured", ""), rows)


def _groups(results: Results) -> list[list[Cell]]:
    """The cells of one kind and number of rooms together, in their order."""
    groups: dict[tuple[Kind, int], list[Cell]] = {}
    for cell in sorted(results, key=lambda one: (one.load.rooms, one.load.tenants, one.load.callers)):
        groups.setdefault((cell.load.kind, cell.load.rooms), []).append(cell)
    order = list(Kind)
    return [groups[key] for key in sorted(groups, key=lambda key: (order.index(key[0]), key[1]))]


def _cells(cells: Sequence[Cell], results: Results) -> Iterator[str]:
    load = cells[0].load
    title = f"{load.rooms:,} rooms" if load.kind is Kind.LIST else ""
    yield f"### {', '.join(filter(None, (load.kind.value.capitalize(), title)))}"
    yield ""
    medians = {cell: median_of(results[cell]) for cell in cells}
    shown = [name for name in PROCESSES if any(name in figures.cpu_us for figures in medians.values())]
    remembered = [name for name in shown if any(name in figures.memory_mb for figures in medians.values())]
    head = (
        *("callers", "who answers", "answers/s", "p50 ms", "p99 ms", "calls"),
        *(f"CPU {name}" for name in shown),
        *(f"MB {name}" for name in remembered),
    )
    yield from _table(head, [_row(cell, medians[cell], shown, remembered) for cell in cells])


def _row(cell: Cell, figures: Figures, shown: Sequence[str], remembered: Sequence[str]) -> list[str]:
    load = cell.load
    callers = str(load.callers) if load.tenants == 1 else f"{load.callers} of {load.tenants} tenants"
    return [
        callers,
        f"{cell.peer.value}, {cell.protocol.value}",
        f"{figures.per_second:,.0f}" if figures.per_second >= 100 else f"{figures.per_second:.2f}",
        f"{figures.p50_ms:.2f}",
        f"{figures.p99_ms:.2f}",
        f"{figures.upstream_calls:.3f}",
        *(f"{figures.cpu_us[name]:,.0f}" if name in figures.cpu_us else "" for name in shown),
        *(f"{figures.memory_mb[name]:,.0f}" if name in figures.memory_mb else "" for name in remembered),
    ]


def _scaling(passes: Sequence[Pass]) -> Iterator[str]:
    yield from ("## One pass of the directory", "")
    rows = [
        [
            f"{one.rooms:,}",
            f"{one.answer_bytes / 1e6:.1f}",
            f"{one.first_ms:.1f}",
            f"{one.later_ms:.1f}",
            f"{one.lag_p99_ms:.1f}",
            f"{one.lag_max_ms:.1f}",
            f"{one.memory_mb:.0f}",
        ]
        for one in passes
    ]
    head = ("rooms", "MB read", "first pass ms", "later ms", "loop lag p99 ms", "max ms", "MB added")
    yield from _table(head, rows)
    if len(passes) > 1:
        fitted = exponents(passes)
        yield (
            f"Fitted exponents (1 is proportional): first pass {fitted['first_ms']:.2f}, later passes "
            f"{fitted['later_ms']:.2f}, memory {fitted['memory_mb']:.2f}. Between two passes one room in a "
            "hundred changes; no network takes part."
        )
        yield ""


def _method(run: Run) -> Iterator[str]:
    form = run.form
    patience = ", ".join(f"`{name}={value}`" for name, value in PATIENT.items())
    yield from ("## What is measured", "")
    own = "; ".join(f"{rooms:,}: {SIZES[rooms]} and {Store(rooms, TENANTS).own}" for rooms in sorted(SIZES))
    yield from (
        f"- {form.rounds} rounds of {form.seconds} s for each cell after a warm-up; peers take turns.",
        "- *plain*: a gateway of aiohttp and livekit-api with a `json.loads` filter, which asks LiveKit on "
        "every request (`benchmarks/plain_gateway.py`). *scan*: the bare Twirp call `ListRooms`. *bare "
        "grpc.aio*: a server that has the same answers from memory and asks nobody "
        "(`benchmarks/bare_grpc.py`), so the height that a service on grpc.aio can reach here.",
        "- Own rooms of each tenant that calls, for one tenant and for 64, by the number of rooms: "
        f"{own}. Of 10 rooms the first ten of 64 tenants own one each. Every room has a record of some "
        "330 bytes in LiveKit's Redis; rooms whose details are asked for have two participants.",
        "- REST is called by wrk, which checks each status, and each body against the one that is right for "
        "its request; callers who ask for different things have a thread each. Lists of 10,000 rooms and "
        "more, the scan and gRPC are called by a process with asyncio, which waits for every call that was "
        "started and checks each answer against its caller. wrk corrects its percentiles for coordinated "
        "omission.",
        f"- TenantRooms runs with its defaults, but for {patience}"
        + (
            f", {', '.join(f'`{name}={value}`' for name, value in run.settings.items())}"
            if run.settings
            else ""
        )
        + ".",
        "- LiveKit counts its calls itself (Prometheus).",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table and the blank line after it."""
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""
