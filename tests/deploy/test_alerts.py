"""The alert rules fire when they must and only then, as far as each is tried; promtool tells, where there is one."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.promtool import find

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "observability"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
TRIED: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.test.yaml").read_text())["tests"]


def fires(look: dict[str, Any]) -> set[str]:
    return set(re.findall(r'alertname="(\w+)"', str(look["exp_samples"])))


def test_each_rule_is_tried_with_series_that_make_it_fire_and_with_such_that_must_not() -> None:
    for rule in RULES:
        name, metrics = rule["alert"], set(re.findall(r"\b(?:tenantrooms_\w+|up)\b", rule["expr"]))
        outcomes = {
            name in fires(look)
            for tried in TRIED
            if rule["expr"].startswith("absent")
            or metrics & set(re.findall(r"\w+", str(tried["input_series"])))
            for look in tried["promql_expr_test"]
        }
        assert outcomes == {True, False}, name


def test_only_rules_that_exist_are_tried() -> None:
    assert {name for tried in TRIED for look in tried["promql_expr_test"] for name in fires(look)} == {
        rule["alert"] for rule in RULES
    }


@pytest.mark.skipif(find() is None, reason="there is no promtool; `make rules` builds one")
@pytest.mark.parametrize(
    "command", [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]]
)
def test_promtool_finds_that_the_rules_do_what_they_should(command: list[str]) -> None:
    done = subprocess.run(
        [find() or "", *command], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
