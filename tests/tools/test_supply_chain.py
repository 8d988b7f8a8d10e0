"""What an audit says: nothing is called safe that could not be looked up."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tools import supply_chain
from tools.supply_chain import LOCKS, NOT_LOOKED_UP, ROOT, VULNERABLE, Report, audited, main

SAFE = {"name": "safe", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}
BAD = {"name": "bad", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}


def said(*dependencies: Any) -> Report:
    report = Report()
    audited("lock.txt", json.dumps({"dependencies": dependencies}), report)
    return report


def test_all_looked_up_and_nothing_found_is_the_only_success(capsys: pytest.CaptureFixture[str]) -> None:
    report = said(SAFE, SAFE)
    report.say()
    assert (report.status, report.looked_up) == (0, 2)
    assert "No known vulnerabilities." in capsys.readouterr().out


def test_what_was_not_looked_up_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    report = said(SAFE, UNKNOWN)
    report.say()
    assert (report.status, report.looked_up) == (NOT_LOOKED_UP, 1)
    told = capsys.readouterr().out
    assert "1 packages of 2" in told
    assert "No known vulnerabilities" not in told


@pytest.mark.parametrize("output", ["", "Traceback", "{}", "[1"])
def test_an_advisory_service_that_is_away_is_no_success(output: str) -> None:
    report = Report()
    audited("lock.txt", output, report)
    assert report.not_looked_up == ["lock.txt: the advisory service could not be reached"]
    assert report.status == NOT_LOOKED_UP


def test_a_vulnerability_is_told_with_its_fix_and_weighs_more() -> None:
    report = said(BAD, UNKNOWN)
    assert report.vulnerable == ["bad 2.0: PYSEC-1, fixed in: 2.1 (lock.txt)"]
    assert report.status == VULNERABLE


def test_every_lock_is_audited() -> None:
    locks = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("requirements*.txt")}
    # Those of production are parts of the one for development.
    assert locks - {"requirements.txt", "requirements-traces.txt"} <= set(LOCKS)


@pytest.fixture
def no_livekit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_SERVER_BIN", "nowhere")


@pytest.mark.usefixtures("no_livekit")
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (subprocess.TimeoutExpired("pip-audit", 600), "has not ended within 600 s"),
        (FileNotFoundError(2, "No such file or directory"), "could not be run"),
    ],
)
@pytest.mark.parametrize("in_the_way", ["setting up", "looking up"])
def test_a_command_that_hangs_or_is_not_there_says_nothing_about_the_packages(
    fault: Exception,
    told: str,
    in_the_way: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> None:
        raise fault

    monkeypatch.setattr(supply_chain, "_set_up", fail if in_the_way == "setting up" else lambda _: None)
    monkeypatch.setattr(supply_chain, "_run", fail)
    assert main(["audit"]) == NOT_LOOKED_UP
    said = capsys.readouterr()
    assert told in said.out + said.err
    assert "No known vulnerabilities" not in said.out


@pytest.mark.usefixtures("no_livekit")
def test_a_vulnerability_is_told_though_a_later_look_hangs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: Sequence[str | Path]) -> "subprocess.CompletedProcess[str]":
        if str(command[-1]).endswith(LOCKS[0]):
            return subprocess.CompletedProcess(command, 1, json.dumps({"dependencies": [BAD]}), "")
        raise subprocess.TimeoutExpired(command, 600)

    monkeypatch.setattr(supply_chain, "_set_up", lambda _: None)
    monkeypatch.setattr(supply_chain, "_run", run)
    assert main(["audit"]) == VULNERABLE
    assert "PYSEC-1" in capsys.readouterr().out
