"""Checks the contract: pinned tools, lint, format, generated code, and no break since the last release.

Each check is a function of the tree and returns what is wrong (None when nothing is), so that a test can ask
for one of them. `CHECKS` names them in the order of running and says what to do about each.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.contract.generate import differences, render
from tools.contract.toolset import ToolError, program, run, version_problems
from tools.contract.tree import ContractTree

__all__ = ["CHECKS", "Check", "Failure", "check"]

MISSING_TOOL: Final = "Run it as `make check`, which installs the pinned tools."


@dataclass(frozen=True)
class Check:
    """One thing that must hold: its name, how to find out, and what a person does when it doesn't hold."""

    name: str
    problem: Callable[[ContractTree], str | None]
    remedy: str


@dataclass(frozen=True)
class Failure:
    """A check that failed: its name, what it found, what to do about that (each some lines of text)."""

    name: str
    problem: str
    remedy: str


def check(tree: ContractTree, checks: Sequence[Check] | None = None) -> list[Failure]:
    """Run the checks, all of them unless told which; every one runs, whatever the others found."""
    failures = []
    for one in CHECKS if checks is None else checks:
        try:
            problem, remedy = one.problem(tree), one.remedy
        except ToolError as error:
            problem, remedy = str(error), MISSING_TOOL
        if problem is not None:
            failures.append(Failure(one.name, problem, remedy))
    return failures


def pinned_tools(tree: ContractTree) -> str | None:
    """Whether the tools in use are the pinned ones."""
    return "\n".join(version_problems(tree)) or None


def lint(tree: ContractTree) -> str | None:
    """Whether the protos follow the rules in buf.yaml."""
    return _buf(tree, "lint")


def formatting(tree: ContractTree) -> str | None:
    """Whether the protos are laid out as `buf format` lays them out."""
    return _buf(tree, "format", "--diff", "--exit-code")


def generated_code(tree: ContractTree) -> str | None:
    """Whether generated/ is what the generator writes, byte for byte."""
    with tempfile.TemporaryDirectory() as fresh:
        render(tree, Path(fresh))
        return "\n".join(differences(tree.generated, Path(fresh))) or None


def breaking(tree: ContractTree) -> str | None:
    """Whether a caller of the last released contract would still compile and be understood."""
    if not tree.released.is_dir():
        return f"{tree.released.relative_to(tree.root)}/ is missing, so there is nothing to compare with."
    return _buf(tree, "breaking", "--against", str(tree.released.relative_to(tree.root)))


CHECKS: Final = (
    Check("tools", pinned_tools, MISSING_TOOL),
    Check("lint", lint, "Change the proto. An exception goes into buf.yaml, with its reason."),
    Check("format", formatting, "Run `buf format -w`."),
    Check("generated", generated_code, "Run `make generate`, and never edit generated/ by hand."),
    Check(
        "breaking",
        breaking,
        "Put back what was removed or changed: callers of the last release rely on it.\n"
        "Add the new beside it (docs/how-to/change-the-contract.md).",
    ),
)


def _buf(tree: ContractTree, *arguments: str) -> str | None:
    done = run([program("buf"), *arguments], tree.root)
    if done.returncode == 0:
        return None
    return done.stdout.rstrip() or f"buf {arguments[0]} ended with status {done.returncode}."
