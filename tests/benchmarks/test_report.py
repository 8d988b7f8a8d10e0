"""What is written down: tables that a Markdown reader takes in, JSON with everything, lines for plots."""

import json
import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from benchmarks.figures import Figures
from benchmarks.plan import QUICK, Cell, Kind, Load, Peer, Protocol
from benchmarks.plots import series_of
from benchmarks.report import Run, as_json, as_markdown, left_out, problems_of
from benchmarks.scaling import Pass, exponents
from benchmarks.targets import TARGETS

PLAIN = Cell(Load(Kind.LIST, 1_000, 1, 64), Peer.PLAIN, Protocol.REST)
OURS = Cell(Load(Kind.LIST, 1_000, 1, 64), Peer.TENANTROOMS, Protocol.REST)
LARGE = Cell(Load(Kind.LIST, 10_000, 1, 64), Peer.TENANTROOMS, Protocol.REST)
DETAILS = Cell(Load(Kind.DISTINCT, 1_000, 64, 64), Peer.TENANTROOMS, Protocol.GRPC)
PASSES = [
    Pass(rooms, rooms * 330, rooms / 100, rooms / 1_000, 1.0, 2.0, rooms / 2_000) for rooms in (1_000, 10_000)
]


def run(*problems: str) -> Run:
    results = {
        PLAIN: [Figures(100.0, 600.0, 900.0, {"gateway": 9_000.0, "load": 30.0}, {"gateway": 80.0}, 1.0)],
        OURS: [
            Figures(1_900.0, 30.0, 60.0, {"service": 300.0, "load": 40.0}, {"service": 90.0}, 0.03, problems)
        ],
        LARGE: [Figures(600.0, 100.0, 200.0)],
        DETAILS: [Figures(4_000.0, 15.0, 40.0)],
    }
    return Run(QUICK, {"commit": "abc"}, {"TENANTROOMS_EDGE_WORKERS": "2"}, 1.5, results, PASSES)


def test_every_table_has_as_many_cells_in_each_row_as_in_its_head() -> None:
    tables = re.findall(r"(?:^\|.*\|\n)+", as_markdown(run(), ["plot.svg"]), re.MULTILINE)
    assert len(tables) == 6
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
    html = MarkdownIt("commonmark").enable("table").render(as_markdown(run(), []))
    assert html.count("<table>") == 6


def test_every_target_has_its_row_with_its_ratio() -> None:
    page = as_markdown(run(), [])
    for target in TARGETS:
        assert f"| {target.row} | {target.text} | " in page
    assert "| list, 1,000 rooms, 64 callers | throughput ≥ 18× plain | 19.00 | met |" in page
    assert "| list, 10 rooms, 64 callers | throughput ≥ 6× plain | – | not measured |" in page


def test_a_run_with_wrong_answers_is_called_void_and_says_where() -> None:
    spoilt = run("1 wrong, 0 failed, 0 unanswered of 9: 500")
    assert problems_of(spoilt) == [f"{OURS}: 1 wrong, 0 failed, 0 unanswered of 9: 500"]
    page = as_markdown(spoilt, [])
    assert "this run is void" in page
    assert "| throughput ≥ 18× plain | 19.00 | **missed** |" in page
    assert "void" not in as_markdown(run(), [])


def test_what_the_time_was_up_for_is_listed() -> None:
    cells = left_out(run())
    assert DETAILS not in cells
    assert len(cells) == len(QUICK.cells()) - len({LARGE, DETAILS} & {*QUICK.cells()})
    page = as_markdown(run(), [])
    assert f"these {len(cells)} of {len(QUICK.cells())} cells" in page
    assert all(f"- {cell}\n" in page for cell in cells)
    whole = replace(run(), results={cell: [Figures(1.0, 1.0, 1.0)] for cell in QUICK.cells()})
    assert left_out(whole) == []
    assert "time was up" not in as_markdown(whole, [])


def test_the_page_says_what_was_set() -> None:
    assert "`TENANTROOMS_EDGE_WORKERS=2`" in as_markdown(run(), [])


def test_the_json_has_every_round_and_target() -> None:
    document = json.loads(as_json(run()))
    assert document["machine"] == {"commit": "abc"}
    assert len(document["cells"]) == 4
    assert document["cells"][0]["rounds"][0]["per_second"] == 100.0
    assert len(document["targets"]) == len(TARGETS)
    assert document["passes"][1]["rooms"] == 10_000


def test_a_line_of_a_plot_is_one_peer_over_all_sizes() -> None:
    series = series_of(run().results, lambda one: one.per_second, 64)
    assert series == {
        "plain, REST": [(1_000, 100.0)],
        "TenantRooms, REST": [(1_000, 1_900.0), (10_000, 600.0)],
    }
    spoilt = series_of(run("1 wrong").results, lambda one: one.per_second, 64)
    assert spoilt["TenantRooms, REST"] == [(10_000, 600.0)]
    assert series_of(run().results, lambda one: one.p50_ms, 1) == {}


def test_the_exponents_are_those_of_the_passes() -> None:
    assert dict(exponents(PASSES)) == pytest.approx({"first_ms": 1.0, "later_ms": 1.0, "memory_mb": 1.0})
