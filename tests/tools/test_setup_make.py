"""The Makefile finds a suitable Python and says what is missing; its help lists every command."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).resolve().parents[2] / "Makefile"

GOOD = '#!/bin/sh\ncase "$*" in *tools.setup*) echo set up by $0 ;; esac\n'
OLD = '#!/bin/sh\ncase "$*" in *version_info*) exit 1 ;; *--version*) echo Python 3.9.2 ;; esac\n'
WITHOUT_VENV = '#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\n'
BROKEN = "#!/bin/sh\nexit 127\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile, and a PATH in which nothing but make and a shell is found."""
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("make", "sh"):
        found = shutil.which(name)
        assert found
        (tmp_path / "bin" / name).symlink_to(found)
    return tmp_path


def python(checkout: Path, name: str, text: str) -> None:
    path = checkout / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(checkout / "bin")}
    return subprocess.run(
        ["make", *arguments], check=False, cwd=checkout, env=env, capture_output=True, text=True
    )


def test_the_newest_python_that_is_complete_sets_up(checkout: Path) -> None:
    python(checkout, "python3.14", BROKEN)
    python(checkout, "python3.13", WITHOUT_VENV)
    python(checkout, "python3.12", GOOD)
    python(checkout, "python3.11", GOOD)
    done = make(checkout, "setup")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("set up by") and done.stdout.endswith("python3.12\n")  # noqa: PT018


def test_a_python_that_is_only_called_python3_will_do(checkout: Path) -> None:
    python(checkout, "python3", GOOD)
    assert make(checkout, "setup").returncode == 0


def test_the_python_that_the_caller_names_is_taken(checkout: Path) -> None:
    python(checkout, "python3.12", GOOD)
    python(checkout, "mine", GOOD)
    assert make(checkout, "setup", "PYTHON=mine").stdout.endswith("mine\n")


def test_an_environment_that_is_current_is_left_alone(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    python(checkout, "../.venv/bin/python", "#!/bin/sh\nexit 0\n")
    python(checkout, "python3", GOOD)
    assert make(checkout, "setup").stdout == ""


@pytest.mark.parametrize(
    ("name", "text", "arguments", "message"),
    [
        ("unrelated", GOOD, [], r"No Python found\. Install Python 3\.11 or newer with venv"),
        ("python3", OLD, [], r"python3 is Python 3\.9\.2, and 3\.11 or newer is needed"),
        ("python3", WITHOUT_VENV, [], r"python3 lacks its venv or ensurepip module\. .*python3-venv"),
        ("python3", GOOD, ["PYTHON=absent"], r"No Python found at PYTHON=absent"),
    ],
)
def test_what_is_missing_is_named(
    checkout: Path, name: str, text: str, arguments: list[str], message: str
) -> None:
    python(checkout, name, text)
    done = make(checkout, "setup", *arguments)
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr


def test_help_is_the_default_and_lists_every_command() -> None:
    done = subprocess.run(
        ["make"],
        check=True,
        cwd=MAKEFILE.parent,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    commands = set(re.findall(r"^\.PHONY: (\w+)", MAKEFILE.read_text("utf-8"), re.MULTILINE)) - {"setup"}
    assert commands == set(re.findall(r"^  make (\w+)", done.stdout, re.MULTILINE))
    assert {"run", "test", "check", "generate", "lock", "clean", "help"} <= commands
