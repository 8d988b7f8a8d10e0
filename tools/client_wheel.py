"""Builds the wheel of the typed client: `python -m tools.client_wheel [--out FOLDER]`.

It holds client/tenantrooms_client and the code generated from protos/ (generated/tenantrooms/v1), so that
an internal service needs nothing else of this repository. client/pyproject.toml says what goes in. The
build runs in the environment at hand, without isolation and so without a network.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from hatchling.build import build_wheel

__all__ = ["build", "main"]

REPOSITORY = Path(__file__).resolve().parents[1]


def build(out: Path) -> Path:
    """Build the wheel into `out`, which is made if need be; the answer is the wheel's path."""
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    # PEP 517: a build backend runs in the folder of the project's pyproject.toml.
    with contextlib.chdir(REPOSITORY / "client"):
        return out / build_wheel(str(out))


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the wheel and print its path; the answer is the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.client_wheel", description="Builds the client's wheel."
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "dist", help="folder (default: dist/)")
    print(build(parser.parse_args(arguments).out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
