"""Owns the plots: throughput and p50 against the number of rooms, log-log, each peer a line.

Step before: `benchmarks.__main__` has all results. matplotlib is imported only when something is drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.figures import Figures, median_of
from benchmarks.plan import Kind
from benchmarks.run import Results

__all__ = ["Series", "draw", "series_of"]

Series = Mapping[str, Sequence[tuple[float, float]]]
"""The name of a line to its points (rooms, figure)."""

DASHES: Final = {"plain": "--", "scan": ":"}


def series_of(results: Results, figure: Callable[[Figures], float], callers: int, tenants: int = 1) -> Series:
    """The lines for lists by so many callers; cells with wrong answers are left out."""
    series: dict[str, list[tuple[float, float]]] = {}
    for cell, rounds in sorted(results.items(), key=lambda item: item[0].load.rooms):
        load = cell.load
        figures = median_of(rounds)
        if (load.kind, load.callers, load.tenants) != (Kind.LIST, callers, tenants) or figures.problems:
            continue
        series.setdefault(f"{cell.peer.value}, {cell.protocol.value}", []).append(
            (load.rooms, figure(figures))
        )
    return series


def draw(series: Series, title: str, unit: str, path: Path) -> None:
    """Write one plot as an SVG file, the same bytes for the same figures."""
    import matplotlib as mpl  # noqa: PLC0415 - heavy, and not part of every set-up
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "tenantrooms", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for name, points in series.items():
            style = DASHES.get(name.partition(",")[0], "-")
            axes.loglog([x for x, _ in points], [y for _, y in points], style, marker="o", label=name)
        axes.set(title=title, xlabel="rooms in LiveKit", ylabel=unit)
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(fontsize=8)
        figure.savefig(path, metadata={"Date": None})
