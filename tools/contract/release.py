"""Keeps the protos of a release, as text: what the breaking check compares with from then on."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from tools.contract.tree import ContractTree

__all__ = ["ReleaseError", "release", "released_version"]

VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")

BUF_YAML: Final = """\
# The last released contract, for `buf breaking`; written by `python -m tools.contract release`.
version: v2
modules:
  - path: protos
"""


class ReleaseError(Exception):
    """The contract can't be released under this version; the message says why."""


def released_version(tree: ContractTree) -> str | None:
    """The version of the last released contract; None before the first release."""
    note = tree.released / "VERSION"
    return note.read_text("utf-8").strip() if note.is_file() else None


def release(tree: ContractTree, version: str) -> None:
    """Replace the released contract by the current protos.

    The caller has checked the contract before. Raises ReleaseError when `version` is not three numbers
    (`1.2.3`) or not above that of the last release.
    """
    if VERSION.fullmatch(version) is None:
        raise ReleaseError(f"{version!r} is not a version like 1.2.3.")
    last = released_version(tree)
    if last is not None and _numbers(version) <= _numbers(last):
        raise ReleaseError(f"{version} is not above the last released version, {last}.")
    tree.released.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".released-", dir=tree.released.parent) as work:
        fresh = Path(work, "fresh")
        for file in tree.proto_files():
            copy = fresh / "protos" / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree.protos / file, copy)
        (fresh / "buf.yaml").write_text(BUF_YAML, "utf-8")
        (fresh / "VERSION").write_text(f"{version}\n", "utf-8")
        if tree.released.exists():
            tree.released.rename(Path(work, "old"))
        fresh.rename(tree.released)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
