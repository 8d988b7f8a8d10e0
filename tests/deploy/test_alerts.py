"""Each alert rule is tried with series that must make it fire and with such that must not."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.alert_rules import built, tried

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
            for one in TRIED
            if rule["expr"].startswith("absent")
            or metrics & set(re.findall(r"\w+", str(one["input_series"])))
            for look in one["promql_expr_test"]
        }
        assert outcomes == {True, False}, name


def test_only_rules_that_exist_are_tried() -> None:
    assert {name for one in TRIED for look in one["promql_expr_test"] for name in fires(look)} == {
        rule["alert"] for rule in RULES
    }


@pytest.mark.skipif(not built().is_file(), reason="`make rules` has not built what evaluates them")
def test_the_rules_do_what_they_should() -> None:
    done = tried(built())
    assert done.returncode == 0, done.stdout
