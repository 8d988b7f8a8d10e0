"""The dashboard, the alert rules and the reference name metrics, labels and values that really exist."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.docs.markdown import table
from tests.end_to_end.callers import ACME
from tests.end_to_end.test_seeing import observed
from tests.support.livekit_double import LiveKitDouble

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy/observability/grafana-dashboard.json"
ALERTS = ROOT / "deploy/observability/alerts.yaml"
REFERENCE = "docs/reference/metrics.md"

# What Prometheus adds to everything that it scrapes.
SCRAPED = {"instance", "job"}

Series = dict[str, list[dict[str, str]]]


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row")


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            # Grafana's own variable; any range will do.
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


EXPRESSIONS = list(expressions())
IDS = [f"{where} {number}" for number, (where, _) in enumerate(EXPRESSIONS)]


@pytest.fixture(scope="module")
async def series(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Series]:
    """All that both processes show: the labels of each series by its name, with the type of its family."""
    async with (
        LiveKitDouble() as livekit,
        observed(livekit, tmp_path_factory.mktemp("seen"), TENANTROOMS_METRICS_TENANTS="5") as (
            callers,
            service,
            edge,
        ),
    ):
        livekit.put_room("own", owner="acme")
        assert (await callers.rest_room("own", ACME)).status == 200
        assert (await callers.rest("/livekit/rooms", ACME)).status == 200
        # What Prometheus itself says of each, by the jobs of docs/how-to/observe.md.
        found: Series = {"up": [{"job": "tenantrooms", "instance": "127.0.0.1:9464", "": "gauge"}]}
        async with aiohttp.ClientSession() as session:
            for url in (service, edge):
                async with session.get(url) as answer:
                    text = await answer.text()
                for family in text_string_to_metric_families(text):
                    for sample in family.samples:
                        found.setdefault(sample.name, []).append({**sample.labels, "": family.type})
        yield found


def selectors(node: Any) -> Iterator[Any]:
    """Every selector of series in a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    else:
        parts = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "param")]
        for part in [*parts, *getattr(node, "args", [])]:
            if part is not None and not isinstance(part, str | float | int):
                yield from selectors(part)


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=IDS)
async def test_each_expression_selects_series_that_exist(series: Series, where: str, expression: str) -> None:
    chosen = list(selectors(promql_parser.parse(expression)))
    assert chosen, where
    for selector in chosen:
        assert selector.name in series, (where, selector.name)
        shown = series[selector.name]
        for matcher in selector.matchers.matchers:
            values = {labels[matcher.name] for labels in shown if matcher.name in labels}
            assert values, (where, selector.name, matcher.name)
            wanted = matcher.value.split("|") if str(matcher.op).endswith("Re") else [matcher.value]
            for value in wanted:
                assert any(re.fullmatch(value, each) for each in values), (where, matcher.name, value)


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=IDS)
async def test_each_expression_groups_by_labels_that_exist(
    series: Series, where: str, expression: str
) -> None:
    parsed = promql_parser.parse(expression)
    known = {name for chosen in selectors(parsed) for labels in series[chosen.name] for name in labels}
    for names in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        assert {name.strip() for name in names.split(",")} <= known | SCRAPED, where


async def test_legends_and_texts_name_labels_that_the_expressions_keep() -> None:
    for panel in panels():
        for target in panel["targets"]:
            by = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            if by or "sum(" in target["expr"]:
                assert named <= by, panel["title"]
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert named <= set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))))


def test_panels_and_rules_have_names_of_their_own() -> None:
    for names in ([panel["title"] for panel in panels()], [rule["alert"] for rule in rules()]):
        assert len(names) == len(set(names))
    assert len({panel["id"] for panel in panels()}) == len(list(panels()))


async def test_every_metric_of_ours_is_on_the_dashboard_or_in_a_rule(series: Series) -> None:
    used = " ".join(expression for _, expression in EXPRESSIONS)
    for name in series:
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        if name.endswith("_created") or family == "tenantrooms_tenant_calls_total":
            continue
        if name.startswith("tenantrooms_"):
            assert family in used, name


@pytest.mark.parametrize(("heading", "edge"), [("The service", False), ("The edge", True)])
async def test_the_reference_has_every_metric_with_its_type_and_labels(
    series: Series, heading: str, edge: bool
) -> None:
    rows = table(REFERENCE, heading)
    documented = {name.code[0]: (kind.text, set(labels.code)) for name, kind, labels, _ in rows}
    shown: dict[str, tuple[str, set[str]]] = {}
    for name, labelled in series.items():
        if name.startswith("tenantrooms_") and name.startswith("tenantrooms_edge_") is edge:
            if name.endswith("_created"):
                continue
            kind = labelled[0][""]
            base = re.sub(r"_(bucket|count|sum)$", "", name) if kind == "histogram" else name
            labels = {label for each in labelled for label in each if label not in ("", "le")}
            shown[base] = (kind, labels)
    assert documented == shown
