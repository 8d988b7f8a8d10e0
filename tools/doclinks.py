"""Checks the links in the project's Markdown: each relative one leads to a file, each anchor to a heading.

So does it with paths in backticks that begin with one of the project's folders. Links to other sites are left
alone. Anchors are made as GitHub makes them.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["Problem", "anchors", "check", "main"]

SKIPPED: Final = frozenset({"node_modules", "dist"})
"""Folders that are not the project's own, next to all that begin with a dot."""

_HTML_LINK: Final = re.compile(r"""\b(?:href|src)\s*=\s*["']([^"']*)["']""", re.IGNORECASE)
_PATH: Final = re.compile(r"([\w.-]+)/[\w./-]*(::\w+)?")
"""A path in backticks, with the test in it that may be named; the first group is its first folder."""
_HTML_ANCHOR: Final = re.compile(r"""\b(?:id|name)\s*=\s*["']([^"']+)["']""", re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """A link or path that leads nowhere; `line` counts from 1 and is where its paragraph begins."""

    file: Path
    line: int
    link: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.link}: {self.reason}"


def check(root: Path) -> list[Problem]:
    """Every broken link or path in the Markdown files below `root`, with paths relative to it."""
    root = root.resolve()
    return [problem for file in sorted(_markdown_files(root)) for problem in _problems_of(file, root)]


def anchors(text: str) -> set[str]:
    """The anchors that a Markdown text offers: one for each heading, and those set in HTML."""
    found: set[str] = set()
    tokens = _parse(text)
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open":
            slug = unique = _slug(_plain_text(content))
            number = 0
            while unique in found:
                number += 1
                unique = f"{slug}-{number}"
            found.add(unique)
    found.update(
        name
        for token, _ in _flat(tokens)
        if "html" in token.type
        for name in _HTML_ANCHOR.findall(token.content)
    )
    return found


def _markdown_files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name in SKIPPED:
            continue
        if entry.is_dir():
            yield from _markdown_files(entry)
        elif entry.suffix == ".md":
            yield entry


def _problems_of(file: Path, root: Path) -> Iterator[Problem]:
    text = file.read_text("utf-8")
    for link, line in _links(text):
        if reason := _broken(link, file, text, root):
            yield Problem(file.relative_to(root), line, link, reason)
    for token, line in _flat(_parse(text)):
        if token.type == "code_inline" and _is_absent(token.content, root):
            yield Problem(file.relative_to(root), line, token.content, "no such file")


def _is_absent(code: str, root: Path) -> bool:
    """Whether it is a path into one of the project's folders, from the top, and there is nothing."""
    path = _PATH.fullmatch(code)
    if path is None or path[1].startswith(".") or path[1] in SKIPPED or not (root / path[1]).is_dir():
        return False
    return not (root / code.partition("::")[0]).exists()


def _broken(link: str, file: Path, text: str, root: Path) -> str | None:
    """Why the link leads nowhere, or None."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = file
    if parts.path:
        if parts.path.startswith("/"):
            return "begins with a slash, which leads out of the project: make it relative"
        target = (file.parent / unquote(parts.path)).resolve()
        if not target.is_relative_to(root):
            return "leads out of the project"
        if not target.exists():
            return "no such file"
    if not parts.fragment or (target.suffix != ".md" and target != file):
        return None
    offered = anchors(text if target == file else target.read_text("utf-8"))
    return None if unquote(parts.fragment) in offered else "no such heading"


def _links(text: str) -> Iterator[tuple[str, int]]:
    """Links and images with the line where their paragraph begins."""
    for token, line in _flat(_parse(text)):
        if token.type == "link_open":
            yield str(token.attrGet("href")), line
        elif token.type == "image":
            yield str(token.attrGet("src")), line
        elif "html" in token.type:
            for link in _HTML_LINK.findall(token.content):
                yield link, line


def _parse(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def _flat(tokens: Iterable[Token], line: int = 1) -> Iterator[tuple[Token, int]]:
    """All tokens, nested ones too, with the line of the block that they belong to."""
    for token in tokens:
        line = token.map[0] + 1 if token.map else line
        yield token, line
        yield from _flat(token.children or (), line)


def _plain_text(token: Token) -> str:
    return "".join(child.content for child in token.children or () if child.type in {"text", "code_inline"})


def _slug(heading: str) -> str:
    """GitHub's anchor of a heading: lower case, letters, digits, `_` and `-`; blanks become `-`."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def main() -> int:
    """Print every broken link; the answer is the exit status."""
    problems = check(Path(__file__).resolve().parents[1])
    for problem in problems:
        print(problem)
    print("links in the docs:", f"{len(problems)} broken" if problems else "ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
