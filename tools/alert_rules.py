"""`python -m tools.alert_rules`: tries the alert rules with Prometheus's own evaluation of expressions.

tools/alerts/ has the Go program, and pins Prometheus by go.mod and go.sum. Building it takes Go from
PATH, and minutes, once. So `make test` takes it where it is built, and builds none.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["built", "main", "tried"]

ROOT: Final = Path(__file__).resolve().parents[1]
MODULE: Final = ROOT / "tools" / "alerts"
RULES: Final = ROOT / "deploy" / "observability"
CANNOT: Final = 2
_SECONDS: Final = 60


def built() -> Path:
    """Where the program is once it is built; each version has a place of its own."""
    sources = b"".join(path.read_bytes() for path in sorted(MODULE.iterdir()))
    return ROOT / ".cache" / "alerts" / hashlib.sha256(sources).hexdigest()[:12] / "rules.test"


def tried(program: Path) -> "subprocess.CompletedProcess[str]":
    """What it says of the rules; its exit status is 0 if they do what they should."""
    return subprocess.run(
        [program],
        env={**os.environ, "RULES_FOLDER": str(RULES)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def _build(program: Path) -> int:
    go = shutil.which("go")
    if go is None:
        print("There is no Go on PATH, which tools/alerts needs.", file=sys.stderr)
        return CANNOT
    print("Building what evaluates the rules: some minutes, this first time only …", flush=True)
    command: list[str | Path] = [go, "test", "-c", "-mod=readonly", "-trimpath", "-vet=off", "-o", program]
    env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
    return CANNOT if subprocess.run(command, cwd=MODULE, env=env, check=False).returncode else 0


def main() -> int:
    """Build it if need be and try the rules; the answer is the exit status, 2 if they could not be tried."""
    program = built()
    if not program.is_file() and (status := _build(program)):
        return status
    done = tried(program)
    print(done.stdout, end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
