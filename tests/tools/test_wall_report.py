"""The page with the figures of `make wall` says what was measured."""

import json

import pytest

from tools.wall_report import BEGIN, END, FIGURES, PAGE, Figures, page_with

FIGURES_OF_TWO: Figures = {
    "b": {"measured": "today", "columns": ["x", "y"], "rows": [["1", "2"], ["3", "4"]]},
    "a": {"measured": "yesterday", "columns": ["z"], "rows": []},
}


def test_the_tables_stand_between_the_markers_in_the_order_of_their_titles() -> None:
    page = page_with(FIGURES_OF_TWO, f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert page == (
        f"before\n{BEGIN}\n\n### a\n\nyesterday.\n\n| z |\n| --- |\n\n"
        f"### b\n\ntoday.\n\n| x | y |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\n{END}\nafter\n"
    )
    assert page_with(FIGURES_OF_TWO, page) == page


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END} {BEGIN}"])
def test_a_page_without_markers_is_left_alone(page: str) -> None:
    with pytest.raises(ValueError, match="markers"):
        page_with(FIGURES_OF_TWO, page)


def test_the_page_has_the_figures_that_were_measured() -> None:
    page = PAGE.read_text("utf-8")
    assert page_with(json.loads(FIGURES.read_text("utf-8")), page) == page
