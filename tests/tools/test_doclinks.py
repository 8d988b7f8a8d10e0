"""The link check finds what leads nowhere and leaves the rest alone."""

from pathlib import Path

import pytest

from tools.doclinks import anchors, check


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "how-to").mkdir(parents=True)
    (tmp_path / "docs" / "setup.md").write_text("# Set up\n\n## `make run` & more\n\n## Set up\n")
    (tmp_path / "docs" / "a b.png").write_bytes(b"")
    (tmp_path / "LICENSE").write_text("")
    return tmp_path


def broken(docs: Path, text: str) -> list[str]:
    (docs / "docs" / "page.md").write_text(text)
    return [f"{problem.line} {problem.link} {problem.reason}" for problem in check(docs)]


@pytest.mark.parametrize(
    "link",
    [
        "setup.md",
        "./setup.md#set-up",
        "setup.md#set-up-1",
        "setup.md#make-run--more",
        "../LICENSE",
        "../LICENSE#L3",
        "how-to",
        "a%20b.png",
        "#here",
        "https://example.invalid/absent.md",
        "mailto:security@example.invalid",
    ],
)
def test_a_link_that_leads_somewhere_is_right(docs: Path, link: str) -> None:
    assert broken(docs, f"# Here\n\n[text]({link})\n") == []


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("absent.md", "no such file"),
        ("setup.md#absent", "no such heading"),
        ("setup.md#Set-up", "no such heading"),
        ("setup.md#set-up-2", "no such heading"),
        ("#absent", "no such heading"),
        ("../../outside.md", "leads out of the project"),
        ("/docs/setup.md", "begins with a slash, which leads out of the project: make it relative"),
    ],
)
def test_a_link_that_leads_nowhere_is_told_with_its_line(docs: Path, link: str, reason: str) -> None:
    assert broken(docs, f"# Here\n\n[text]({link})\n") == [f"3 {link} {reason}"]


@pytest.mark.parametrize(
    "text",
    [
        "![picture](absent)",
        "[by name][there]\n\n[there]: absent",
        '<img src="absent">',
        'text <a href="absent">with</a> HTML',
        "| a table |\n|---|\n| [cell](absent) |",
        "- a list\n\n  > and a [quotation](absent)",
    ],
)
def test_every_kind_of_link_is_looked_at(docs: Path, text: str) -> None:
    assert [line.split()[1] for line in broken(docs, text)] == ["absent"]


def test_code_is_no_link(docs: Path) -> None:
    assert broken(docs, "`[text](absent)`\n\n```\n[text](absent)\n```\n") == []


@pytest.mark.parametrize(
    "code",
    ["docs/setup.md", "docs/how-to/", "docs/setup.md::test_it", "other/absent.py", "/docs/absent", "a/b c"],
)
def test_a_path_in_backticks_that_is_there_or_is_not_the_projects_is_right(docs: Path, code: str) -> None:
    assert broken(docs, f"See `{code}`.") == []


@pytest.mark.parametrize("code", ["docs/absent.md", "docs/how-to/absent/", "docs/absent.py::test_it"])
def test_a_path_in_backticks_that_leads_nowhere_is_told_with_its_line(docs: Path, code: str) -> None:
    assert broken(docs, f"# Here\n\nSee `{code}`.") == [f"3 {code} no such file"]


def test_folders_that_begin_with_a_dot_are_not_the_projects_docs(docs: Path) -> None:
    (docs / ".venv").mkdir()
    (docs / ".venv" / "README.md").write_text("[text](absent)")
    assert check(docs) == []


def test_anchors_are_those_that_github_makes() -> None:
    headings = "# Größe: 1.5 MiB!\n\n## a_b-c\n\n## a_b-c\n\nSet\n===\n"
    others = '\n<a id="own"></a>\n\n```\n# no heading\n```\n'
    assert anchors(headings + others) == {"größe-15-mib", "a_b-c", "a_b-c-1", "set", "own"}
