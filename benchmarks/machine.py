"""Owns what a figure is worth nothing without: the machine, the versions and the commit."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from tools.stack import ROOT

__all__ = ["describe", "is_busy"]

IDLE_LOAD: Final = 0.5
"""Of each core: what a machine may have to do, at most, before a measurement."""


def is_busy() -> bool:
    """Whether others have had this machine at work during the last minute."""
    return os.getloadavg()[0] > IDLE_LOAD * (os.cpu_count() or 1)


def describe(programs: Mapping[str, Path]) -> dict[str, str]:
    """What to write next to figures.

    Args:
        programs: name to path of other programs, which are asked for their version.
    """
    dirty = _said("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _said("git", "rev-parse", "HEAD") + (" with changes" if dirty else ""),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("grpcio", "granian", "litestar", "aiohttp", "livekit-api")},
        **{name: _first_line(_said(str(path), "--version")) for name, path in programs.items()},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _said(*command: str) -> str:
    """What a program prints; empty where it cannot be run."""
    try:
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip()


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
