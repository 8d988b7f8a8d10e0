"""The log of a process: one record a line, whoever wrote it, and of a strange exception no text."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, logging, sys, warnings
import structlog
from common.logs import LogLevel, configure_logs

configure_logs(LogLevel.INFO)
configure_logs(LogLevel({level!r}))
ours, theirs = structlog.get_logger("ours"), logging.getLogger("a.library")
{body}
"""


def environment() -> dict[str, str]:
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "client", "generated"))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": paths}


def records(body: str, level: str = "debug") -> list[dict[str, Any]]:
    program = PROGRAM.format(level=level, body=body)
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    assert ended.stdout == ""
    return [json.loads(line) for line in ended.stderr.splitlines()]


def on_a_terminal(body: str) -> str:
    program = PROGRAM.format(level="debug", body=body)
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", program], env=environment(), stderr=theirs) as process:
        os.close(theirs)
        written = b""
        while chunk := _read(ours):
            written += chunk
        assert process.wait() == 0
    os.close(ours)
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says so when the other side has closed
        return b""


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_holds_for_our_records_and_for_those_of_libraries(level: str, written: list[str]) -> None:
    body = "for log in (ours, theirs):\n  for name in ('debug', 'info', 'warning', 'error'):\n"
    body += "    getattr(log, name)('it happened')\n"
    found = records(body, level)
    assert [record["level"] for record in found] == [*written, *written]
    assert {record["event"] for record in found} == {"it happened"}
    assert {record.get("logger") for record in found} == {None, "a.library"}


def test_of_a_librarys_exception_only_kind_and_place_are_kept() -> None:
    body = """
def fail():
    raise ValueError("Bearer canary")
try:
    fail()
except ValueError:
    theirs.exception("it failed on %s", b"Bearer canary")
async def lose():
    asyncio.get_running_loop().create_task(later())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
async def later():
    fail()
asyncio.run(lose())
"""
    failed, lost = (record for record in records(body) if record["level"] == "error")
    assert (failed["event"], failed["error"]) == ("it failed on %s", "ValueError")
    assert failed["at"][-1].endswith(" fail")
    assert (lost["event"], lost["error"]) == ("Task exception was never retrieved", "ValueError")
    assert "canary" not in repr((failed, lost))


def test_a_warning_of_pythons_is_a_record() -> None:
    (record,) = records("warnings.warn('soon gone', UserWarning)")
    assert (record["level"], record["logger"]) == ("warning", "py.warnings")
    assert "soon gone" in record["event"]


HOSTILE = "a\x1b[31mred\r\n{'level': 'error'}\u2028\x9b2J"


def test_a_record_is_one_line_whatever_stands_in_it() -> None:
    body = f"ours.info('said', text={HOSTILE!r})\ntheirs.info({HOSTILE!r})"
    mine, other = records(body)
    assert (mine["text"], other["event"]) == (HOSTILE, HOSTILE)


def test_a_terminal_gets_no_commands_out_of_a_record() -> None:
    body = f"ours.info('said', text={HOSTILE!r})\ntheirs.info({HOSTILE!r})"
    body += f"\ntry:\n  raise ValueError({HOSTILE!r})\nexcept ValueError:\n  ours.exception('failed')"
    written = on_a_terminal(body)
    assert "\\x1b[31mred" in written
    assert "\x1b[31mred" not in written
    assert "\x9b" not in written
    assert "\u2028" not in written
    assert "\r{" not in written
    assert "\n{" not in written
