"""Writes the figures of tests with full counts into their pages: `python -m tools.figures wall`.

The tests keep them in a JSON file beside the page. docs/reference/wall.md shows them as tables between two
markers, docs/reliability.md in the last cell of each row of its matrix.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

__all__ = ["RELIABILITY", "ROOT", "WALL", "Figures", "Page", "Table", "matrix_with", "tables_in"]

ROOT: Final = Path(__file__).resolve().parents[1]

BEGIN: Final = "<!-- figures: make wall writes from here -->"
END: Final = "<!-- figures: to here -->"
_MATRIX_ROW: Final = re.compile(r"^(?P<before>\| ([A-Z]\d+) \|.*\| )[^|]* \|$", re.MULTILINE)


class Table(TypedDict):
    """One table of figures; `measured` says when, at which commit and on what."""

    measured: str
    columns: list[str]
    rows: list[list[str]]


Figures = dict[str, Table]
"""The tables by their titles."""


def tables_in(figures: Figures, page: str) -> str:
    """The page with all figures between its markers, as tables in the order of their titles.

    Raises ValueError when it has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has lost its markers: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{_tables(figures)}\n{END}{after}"


def matrix_with(figures: Figures, page: str) -> str:
    """The page with each figure in the last cell of its row, and the day and commit beside it.

    A title is the row's id, or that and a remark in parentheses, where a row has several figures.
    Raises ValueError when there is no such row.
    """
    of_row = defaultdict[str, list[str]](list)
    for title, table in sorted(figures.items()):
        row, _, remark = title.partition(" ")
        (figure,) = [cell for cells in table["rows"] for cell in cells]
        day_and_commit = ", ".join(table["measured"].split(", ")[:2])
        of_row[row].append(f"{remark.strip('()')}: {figure}" if remark else figure)
        of_row[row][-1] += f" ({day_and_commit})"
    if unknown := of_row.keys() - {found[2] for found in _MATRIX_ROW.finditer(page)}:
        raise ValueError(f"the matrix has no row for {', '.join(sorted(unknown))}")

    def filled(row: re.Match[str]) -> str:
        figures_here = of_row.get(row[2])
        return row[0] if figures_here is None else f"{row['before']}{'; '.join(figures_here)} |"

    return _MATRIX_ROW.sub(filled, page)


@dataclass(frozen=True)
class Page:
    """A page of figures.

    Attributes:
        path: the page.
        show: puts the figures into its text.
    """

    path: Path
    show: Callable[[Figures, str], str]

    @property
    def figures(self) -> Path:
        """Where the tests keep the figures."""
        return self.path.with_suffix(".json")

    def known(self) -> Figures:
        """The figures so far."""
        known: Figures = json.loads(self.figures.read_text("utf-8")) if self.figures.is_file() else {}
        return known

    def keep(self, figures: Figures) -> None:
        """Writes the figures, but not yet the page."""
        text = json.dumps(figures, indent=1, sort_keys=True, ensure_ascii=False)
        self.figures.write_text(text + "\n", "utf-8")

    def shown(self) -> str:
        """The page as it is with all figures so far."""
        return self.show(self.known(), self.path.read_text("utf-8"))


WALL: Final = Page(ROOT / "docs/reference/wall.md", tables_in)
RELIABILITY: Final = Page(ROOT / "docs/reliability.md", matrix_with)
PAGES: Final = {page.path.stem: page for page in (WALL, RELIABILITY)}


def _tables(figures: Figures) -> str:
    lines: list[str] = []
    for title, table in sorted(figures.items()):
        lines += [f"### {title}", "", table["measured"] + ".", ""]
        lines += [_row(table["columns"]), _row(["---"] * len(table["columns"]))]
        lines += [*map(_row, table["rows"]), ""]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Writes one page."""
    parser = argparse.ArgumentParser(prog="python -m tools.figures", description="Write a page of figures.")
    parser.add_argument("page", choices=PAGES)
    page = PAGES[parser.parse_args().page]
    page.path.write_text(page.shown(), "utf-8")
    print(f"The figures are in {page.path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
