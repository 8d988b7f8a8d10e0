"""The reliability matrix: every row has tests, and every test that it names is there."""

import ast
from itertools import chain

from tests.docs.markdown import ROOT, Cell, tables
from tools.figures import RELIABILITY

FULL_FORMS = {"load", "soak", "fuzz"}


def rows() -> list[list[Cell]]:
    return list(chain.from_iterable(tables("docs/reliability.md")))


def functions(file: str) -> dict[str, set[str]]:
    """The tests in this file, each with its marks."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    everywhere = {
        mark
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        for mark in _marks([node.value])
    }
    return {
        node.name: everywhere | _marks(node.decorator_list)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


def _marks(decorators: list[ast.expr]) -> set[str]:
    return {ast.unparse(one).removeprefix("pytest.mark.").partition("(")[0] for one in decorators}


def test_every_row_names_tests_that_are_there() -> None:
    known: dict[str, dict[str, set[str]]] = {}
    for row, *_, tests, _figure in rows():
        assert tests.code, row.text
        for file, _, name in (test.partition("::") for test in tests.code):
            known.setdefault(file, functions(file))
            assert name in known[file], f"{row.text}: {file} has no {name}"


def test_no_row_is_there_twice() -> None:
    ids = [row[0].text for row in rows()]
    assert len(ids) == len(set(ids)) > 40


def test_a_row_that_waits_for_a_figure_has_a_test_with_a_full_form_that_gives_it() -> None:
    for row, *_, tests, figure in rows():
        marks = {
            mark
            for test in tests.code
            for mark in functions(test.partition("::")[0])[test.partition("::")[2]]
        }
        if figure.text == "not yet measured":
            assert marks & FULL_FORMS, row.text


def test_every_figure_is_of_a_row() -> None:
    ids = {row[0].text for row in rows()}
    assert {title.partition(" ")[0] for title in RELIABILITY.known()} <= ids
