"""Writes the figures of `make wall` into docs/reference/wall.md, as tables between two markers.

`python -m tools.wall_report` reads docs/reference/wall.json, which the tests wrote in their full counts.
"""

import json
import sys
from pathlib import Path
from typing import Final, TypedDict

__all__ = ["FIGURES", "PAGE", "ROOT", "Figures", "Table", "page_with", "tables"]

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs/reference/wall.md"
FIGURES: Final = PAGE.with_suffix(".json")

BEGIN: Final = "<!-- figures: make wall writes from here -->"
END: Final = "<!-- figures: to here -->"


class Table(TypedDict):
    """One table of figures; `measured` says when, at which commit and on what."""

    measured: str
    columns: list[str]
    rows: list[list[str]]


Figures = dict[str, Table]
"""The tables by their titles."""


def tables(figures: Figures) -> str:
    """All tables as Markdown, in the order of their titles."""
    lines: list[str] = []
    for title, table in sorted(figures.items()):
        lines += [f"### {title}", "", table["measured"] + ".", ""]
        lines += [_row(table["columns"]), _row(["---"] * len(table["columns"]))]
        lines += [*map(_row, table["rows"]), ""]
    return "\n".join(lines)


def page_with(figures: Figures, page: str) -> str:
    """The page with these figures between its markers. Raises ValueError when it has no markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} has lost its markers: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables(figures)}\n{END}{after}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Writes the page."""
    figures: Figures = json.loads(FIGURES.read_text("utf-8"))
    PAGE.write_text(page_with(figures, PAGE.read_text("utf-8")), "utf-8")
    print(f"The figures are in {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
