"""Reads the project's Markdown for the tests: tables under a heading, and fenced code."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cell:
    """One cell of a table: the code spans in it, and all of its text."""

    code: tuple[str, ...]
    text: str


def table(file: str, heading: str) -> list[list[Cell]]:
    """The rows, but for the header row, of the only table between this heading and the next one."""
    under = False
    rows: list[list[Cell]] = []
    tokens = iter(_parse(file))
    for token in tokens:
        if token.type == "heading_open":
            under = next(tokens).content == heading
        elif under and token.type == "tr_open":
            rows.append([])
        elif under and token.type == "td_open":
            rows[-1].append(_cell(next(tokens)))
    header, *body = rows
    assert not header, f"{file}: the table under {heading!r} should begin with a header row"
    assert all(body), f"{file}: there is more than one table under {heading!r}"
    return body


def tables(file: str) -> Iterator[list[list[Cell]]]:
    """The rows of every table, but for the header row."""
    tokens = iter(_parse(file))
    for token in tokens:
        if token.type == "tbody_open":
            rows: list[list[Cell]] = []
            while token.type != "tbody_close":
                token = next(tokens)  # noqa: PLW2901 (of one table)
                if token.type == "tr_open":
                    rows.append([])
                elif token.type == "td_open":
                    rows[-1].append(_cell(next(tokens)))
            yield rows


def fences(file: str, language: str) -> Iterator[str]:
    """The contents of the fenced blocks of this language."""
    for token in _parse(file):
        if token.type == "fence" and token.info == language:
            yield token.content


def _parse(file: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / file).read_text("utf-8"))


def _cell(inline: Token) -> Cell:
    parts = inline.children or []
    code = tuple(part.content for part in parts if part.type == "code_inline")
    return Cell(code, "".join(part.content for part in parts if part.type in {"text", "code_inline"}))
