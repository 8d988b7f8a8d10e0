"""`python -m tools.promtool`: tries the alert rules with Prometheus's own promtool, built here if there is none.

It is looked for in PROMTOOL_BIN, on PATH, and below .cache/. To build what tools/promtool/go.mod and go.sum pin
takes Go from PATH and many minutes, once. So `make test` takes a promtool that is there, and builds none.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["find", "main"]

ROOT: Final = Path(__file__).resolve().parents[1]
MODULE: Final = ROOT / "tools" / "promtool"
BUILT: Final = ROOT / ".cache" / "promtool" / "promtool"
PACKAGE: Final = "github.com/prometheus/prometheus/cmd/promtool"
RULES: Final = ROOT / "deploy" / "observability"


def find() -> str | None:
    """A promtool that is there."""
    return shutil.which(os.environ.get("PROMTOOL_BIN", "promtool")) or (
        str(BUILT) if BUILT.is_file() else None
    )


def _build() -> str | None:
    go = shutil.which("go")
    if go is None:
        return None
    print("Building promtool: ten minutes or more, this first time only …", flush=True)
    # No service discovery: rules need none of it.
    command = [
        go,
        "build",
        "-mod=readonly",
        "-trimpath",
        "-tags=remove_all_sd",
        "-ldflags=-s -w",
        "-o",
        BUILT,
        PACKAGE,
    ]
    env = {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}
    subprocess.run(command, cwd=MODULE, env=env, check=True)
    return str(BUILT)


def main() -> int:
    """Check and try the rules; the answer is the exit status."""
    try:
        promtool = find() or _build()
    except subprocess.CalledProcessError:
        return 1
    if promtool is None:
        print("There is neither promtool nor Go on PATH. Install one, or set PROMTOOL_BIN.", file=sys.stderr)
        return 2
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]):
        if subprocess.run([promtool, *command], cwd=RULES, check=False).returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
