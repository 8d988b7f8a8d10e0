"""A long command shows that it is alive, keeps its output, and says what went wrong."""

import io
import os
import sys
from pathlib import Path

import pytest

from tools.progress import CommandError, Progress, last_lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, folder: Path, program: str) -> Path:
    log = folder / "logs" / "log"
    command = [sys.executable, "-c", program]
    Progress(stream).run(
        "Counting", command, log=log, env=os.environ, cwd=folder, status_of=lambda line: f"at {line}"
    )
    return log


def test_the_output_goes_to_the_log_and_not_to_the_screen(tmp_path: Path) -> None:
    screen = io.StringIO()
    log = run(screen, tmp_path, "import sys; print('one'); print('two', file=sys.stderr)")
    assert sorted(log.read_text().split()) == ["one", "two"]
    assert screen.getvalue().splitlines()[0] == "Counting …"
    assert "Counting: done" in screen.getvalue()
    assert "two" not in screen.getvalue()


def test_a_terminal_shows_the_latest_status_on_one_line(tmp_path: Path) -> None:
    screen = Terminal()
    run(screen, tmp_path, "import time; print('one', flush=True); time.sleep(1)")
    assert "at one" in screen.getvalue()
    assert screen.getvalue().count("\n") == 1
    assert screen.getvalue().endswith("s)\n")


def test_a_failure_names_the_command_its_exit_code_and_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"(?s)Counting: .*exit code 3.*\n    out of numbers"):
        run(io.StringIO(), tmp_path, "print('out of numbers'); raise SystemExit(3)")


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="absent could not be started"):
        Progress(io.StringIO()).run(
            "Counting",
            [tmp_path / "absent"],
            log=tmp_path / "log",
            env={},
            cwd=tmp_path,
            status_of=lambda _: None,
        )


def test_an_interrupt_ends_the_command(tmp_path: Path) -> None:
    def interrupt(line: str) -> str | None:
        os.kill(int(line), 0)
        raise KeyboardInterrupt

    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    log = tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        Progress(io.StringIO()).run(
            "Waiting",
            [sys.executable, "-c", program],
            log=log,
            env=os.environ,
            cwd=tmp_path,
            status_of=interrupt,
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


def test_only_the_last_lines_of_a_log_are_shown_and_long_ones_are_cut(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)) + "x" * 500)
    shown = last_lines(log, 3, width=20).splitlines()
    assert shown == ["    line 98", "    line 99", "    " + "x" * 19 + "…"]
    assert "no log" in last_lines(tmp_path / "absent")
