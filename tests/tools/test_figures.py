"""The pages with figures say what was measured."""

import pytest

from tools.figures import BEGIN, END, RELIABILITY, WALL, Figures, Page, matrix_with, tables_in

FIGURES_OF_TWO: Figures = {
    "b": {"measured": "today", "columns": ["x", "y"], "rows": [["1", "2"], ["3", "4"]]},
    "a": {"measured": "yesterday", "columns": ["z"], "rows": []},
}


def test_the_tables_stand_between_the_markers_in_the_order_of_their_titles() -> None:
    page = tables_in(FIGURES_OF_TWO, f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert page == (
        f"before\n{BEGIN}\n\n### a\n\nyesterday.\n\n| z |\n| --- |\n\n"
        f"### b\n\ntoday.\n\n| x | y |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\n{END}\nafter\n"
    )
    assert tables_in(FIGURES_OF_TWO, page) == page


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END} {BEGIN}"])
def test_a_page_without_markers_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        tables_in(FIGURES_OF_TWO, page)


MATRIX = (
    "| Row | Test | Figure |\n| --- | --- | --- |\n| L1 | `a` | not yet measured |\n| L2 | `b` | always |\n"
)
FIGURE_OF_L1: Figures = {
    "L1": {"measured": "2026-11-23, commit abc, a machine", "columns": ["Figure"], "rows": [["0 of 5"]]}
}


def test_a_figure_stands_in_the_last_cell_of_its_row_with_its_day() -> None:
    page = matrix_with(FIGURE_OF_L1, MATRIX)
    assert page == MATRIX.replace("not yet measured", "0 of 5 (2026-11-23, commit abc)")
    assert matrix_with(FIGURE_OF_L1, page) == page


def test_several_figures_of_one_row_stand_side_by_side() -> None:
    two = {f"L1 ({which})": FIGURE_OF_L1["L1"] for which in ("service", "edge")}
    shown = "edge: 0 of 5 (2026-11-23, commit abc); service: 0 of 5 (2026-11-23, commit abc)"
    assert matrix_with(two, MATRIX) == MATRIX.replace("not yet measured", shown)


def test_a_figure_without_a_row_is_not_lost_silently() -> None:
    with pytest.raises(ValueError, match="no row for L1"):
        matrix_with(FIGURE_OF_L1, MATRIX.replace("L1", "L3"))


@pytest.mark.parametrize("page", [WALL, RELIABILITY])
def test_the_page_has_the_figures_that_were_measured(page: Page) -> None:
    assert page.shown() == page.path.read_text("utf-8")
