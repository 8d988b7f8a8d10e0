"""The tools behind the contract commands: found beside the running Python, checked against their pins."""

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from tools.contract.tree import ContractTree

__all__ = ["ToolError", "program", "run", "version_problems"]

PINNED: Final = ("buf-bin", "grpcio-tools", "mypy-protobuf")
"""The distributions whose version decides what is generated or accepted."""


class ToolError(Exception):
    """A tool is missing or failed; the message says which, and what it printed."""


def program(name: str) -> str:
    """The path of a program that the running virtual environment installed.

    PATH is not searched: it may lead to another version. Raises ToolError when there is none.
    """
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise ToolError(f"{name} is not installed beside {sys.executable}.")
    return str(path)


def run(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; standard error is part of `stdout`, in the order of printing."""
    return subprocess.run(
        command, cwd=cwd, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def version_problems(tree: ContractTree) -> list[str]:
    """One line for each tool that is not installed at the version that pyproject.toml pins."""
    groups = tomllib.loads(tree.pyproject.read_text("utf-8"))["dependency-groups"]
    pins = dict(entry.split("==") for entry in groups["tools"] if isinstance(entry, str) and "==" in entry)
    problems = []
    for name in PINNED:
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "not installed"
        if name not in pins:
            problems.append(f"{name}: pyproject.toml does not pin it with ==")
        elif installed != pins[name]:
            problems.append(f"{name}: {installed}, but pyproject.toml pins {pins[name]}")
    return problems
