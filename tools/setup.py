"""Makes .venv: every package at its locked hash, and this project in it, editable.

`python -m tools.setup` does what is missing and nothing when nothing changed; make calls it before every
command that needs packages. What was done is recorded last, so that an interrupted run starts anew.
Standard library only, and run by any Python of the machine.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.file_lock import exclusive
from tools.progress import CommandError, Progress

__all__ = ["Setup", "main"]

PIP_OVERRIDES: Final = {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PYTHONUNBUFFERED": "1"}
"""On top of the caller's own pip settings (index, proxy, certificates), which are heeded."""


class Setup:
    """The virtual environment of the checkout at `root`.

    `env` is the environment for the commands that it runs.
    """

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self._root, self._env = root, env
        self._venv = root / ".venv"
        self._setup_lock = root / ".cache" / "setup.lock"
        self._record = self._venv / "tenantrooms-setup.json"
        self._lock = root / "requirements-dev.txt"
        self._bench_lock = root / "requirements-bench.txt"
        self._bench_record = self._venv / "tenantrooms-benchmarks.txt"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self._venv / "bin" / "python"

    def is_current(self) -> bool:
        """Whether there is nothing to do, as far as the interpreter that runs this can tell."""
        return self._recorded() == self._wanted()

    def run(self, progress: Progress) -> None:
        """Do what is missing. Raises CommandError."""
        with exclusive(self._setup_lock, lambda: progress.say("Another set-up is at work here; waiting …")):
            wanted, recorded = self._wanted(), self._recorded()
            if recorded.get("packages") != wanted["packages"] or not self._interpreter_runs():
                self._install_packages(progress)
                recorded = {}
            if recorded.get("project") != wanted["project"]:
                self._install_project(progress)
            # Written last and moved into place: a set-up that was interrupted has no record.
            unfinished = self._record.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(wanted), "utf-8")
            unfinished.replace(self._record)

    def add_benchmarks(self, progress: Progress) -> None:
        """Add the packages that only measurements need, after `run`. Raises CommandError."""
        with exclusive(self._setup_lock, lambda: progress.say("Another set-up is at work here; waiting …")):
            wanted = _digest(self._bench_lock.read_text("utf-8"))
            if self._bench_record.is_file() and self._bench_record.read_text("utf-8") == wanted:
                return
            self._install_locked("Installing packages for measurements", self._bench_lock, progress)
            # It lies in the environment, so an environment made anew has no record.
            self._bench_record.write_text(wanted, "utf-8")

    def _install_packages(self, progress: Progress) -> None:
        """Make the environment from nothing: what an interrupted or older one holds is not trusted."""
        progress.say("Setting up .venv: about a minute, until the locked packages change.")
        if self._venv.exists():
            shutil.rmtree(self._venv)
        self._run(
            f"Making .venv with Python {sys.version.split()[0]}",
            [sys.executable, "-m", "venv", self._venv],
            progress,
            lambda _: None,
        )
        self._install_locked("Installing packages", self._lock, progress)

    def _install_locked(self, label: str, lock: Path, progress: Progress) -> None:
        total = len(re.findall(r"^\S+==", lock.read_text("utf-8"), re.MULTILINE))
        collected = 0

        def status(line: str) -> str | None:
            nonlocal collected
            if line.startswith("Collecting "):
                collected += 1
                return f"{collected} of {total}: {line.split()[1].partition('==')[0]}"
            return "unpacking" if line.startswith("Installing collected packages") else None

        locked = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
        self._run(
            label,
            [self.python, "-m", "pip", "install", "--disable-pip-version-check", *locked],
            progress,
            status,
        )

    def _install_project(self, progress: Progress) -> None:
        here = ["--no-deps", "--no-build-isolation", "--editable", str(self._root)]
        self._run(
            "Installing TenantRooms itself",
            [self.python, "-m", "pip", "install", "--disable-pip-version-check", *here],
            progress,
            lambda _: None,
        )

    def _run(
        self,
        label: str,
        command: Sequence[str | Path],
        progress: Progress,
        status_of: Callable[[str], str | None],
    ) -> None:
        progress.run(
            label,
            command,
            log=self._root / ".cache" / "setup.log",
            env={**self._env, **PIP_OVERRIDES},
            cwd=self._root,
            status_of=status_of,
        )

    def _interpreter_runs(self) -> bool:
        try:
            asked = subprocess.run([self.python, "-c", "import pip"], check=False, capture_output=True)
        except OSError:
            return False
        return asked.returncode == 0

    def _recorded(self) -> dict[str, str]:
        try:
            recorded: dict[str, str] = json.loads(self._record.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return recorded

    def _wanted(self) -> dict[str, str]:
        """Digests of all that the environment depends on."""
        pyproject = tomllib.loads((self._root / "pyproject.toml").read_text("utf-8"))
        parts = [
            pyproject.get("build-system"),
            pyproject.get("project"),
            pyproject.get("tool", {}).get("hatch"),
        ]
        # The editable install holds the checkout's path, the packages are for one Python.
        packages = [self._lock.read_text("utf-8"), Path(__file__).read_text("utf-8"), sys.version]
        return {"packages": _digest(packages), "project": _digest([*parts, str(self._root)])}


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up, or with --check tell by the exit status whether there is nothing to do."""
    parser = argparse.ArgumentParser(prog="python -m tools.setup", description="Makes .venv.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 0 if nothing is to do")
    parser.add_argument(
        "--benchmarks", action="store_true", help="add what measurements need; nothing else is looked at"
    )
    options = parser.parse_args(arguments)
    setup = Setup(Path(__file__).resolve().parents[1], os.environ)
    if options.check:
        return 0 if setup.is_current() else 1
    try:
        if options.benchmarks:
            setup.add_benchmarks(Progress(sys.stderr))
        else:
            setup.run(Progress(sys.stderr))
    except CommandError as error:
        print(
            f"{error}\nNothing is half-done: run the same command again once the cause is gone. "
            "(The network is needed; HTTPS_PROXY and pip's own settings are heeded.)",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("Stopped. The next run starts the set-up anew.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
