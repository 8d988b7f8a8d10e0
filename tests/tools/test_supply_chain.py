"""What an audit says: nothing is called safe that could not be looked up."""

import json
from typing import Any

import pytest

from tools.supply_chain import LOCKS, NOT_LOOKED_UP, ROOT, VULNERABLE, Report, audited

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
