"""`make bench`: measures TenantRooms next to its yardsticks, and writes tables and plots.

`--quick` finishes within two minutes and writes to .cache/benchmarks; the full form takes up to 25 minutes
and writes to docs/benchmarks. Ctrl-C stops every process that was started. The exit status is 1 when any
answer was wrong or missing, or the full form ran out of time; whether targets are met does not change it.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.drivers import WRK_MISSING, wrk_binary
from benchmarks.machine import describe, is_busy
from benchmarks.plan import FULL, QUICK, Form
from benchmarks.plots import draw, series_of
from benchmarks.report import PLOTS, Run, as_json, as_markdown, left_out, problems_of
from benchmarks.run import Measurement, Tools
from benchmarks.scaling import measure_sizes
from benchmarks.stopping import run_until_stopped
from tests.support.redis_server import redis_binary
from tools.child_process import ChildFailedError
from tools.livekit_build import LiveKitBuildError, server_binary
from tools.stack import ROOT

__all__ = ["main"]

CACHE: Final = ROOT / ".cache" / "benchmarks"
DOCS: Final = ROOT / "docs" / "benchmarks"
EXIT_USAGE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; the exit status: 0, 1 for wrong answers or failures, 2 for missing programs, 130 stopped."""
    options = _options(arguments)
    form: Form = QUICK if options.quick else FULL
    redis, wrk = redis_binary(), wrk_binary()
    if redis is None or wrk is None:
        if redis is None:
            print("there is no redis-server on PATH. Debian and Ubuntu: apt-get install redis-server",
                  file=sys.stderr)  # fmt: skip
        if wrk is None:
            print(WRK_MISSING, file=sys.stderr)
        return EXIT_USAGE
    output: Path = options.output or (CACHE if options.quick else DOCS)
    try:
        tools = Tools(server_binary(os.environ), redis, wrk)
        run = run_until_stopped(_run(form, tools, dict(options.set)))
    except (ChildFailedError, LiveKitBuildError, RuntimeError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.", file=sys.stderr)
        return 130
    _write(run, output)
    return 1 if problems_of(run) or (form is FULL and left_out(run)) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measures TenantRooms.")
    parser.add_argument("--quick", action="store_true", help="a part of it, once, within two minutes")
    parser.add_argument("--output", type=Path, help="the folder to write to")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_setting,
        help="a further setting for the service and the edge; may be repeated",
    )
    return parser.parse_args(arguments)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError("NAME=VALUE is wanted")
    return name, value


async def _run(form: Form, tools: Tools, settings: dict[str, str]) -> Run:
    """Measure everything of this form."""
    logs = CACHE / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    busy = is_busy()
    if busy:
        _say("This machine is at work for others: figures will be off, and so will ratios.")
    began = time.monotonic()
    cells = len(form.cells()) * form.rounds
    _say(f"{cells} measurements of {form.seconds} s and more, {form.rounds} round(s); logs are in {logs}")
    _say("One pass of the directory by itself …")
    passes = await measure_sizes()
    measurement = Measurement(form, tools, logs, settings, _say, ends=began + form.budget)
    results = await measurement.run()
    machine = describe({"livekit": tools.livekit, "redis": tools.redis, "wrk": tools.wrk})
    machine["before"] = "**at work for others**" if busy else "idle"
    return Run(form, machine, settings, (time.monotonic() - began) / 60, results, passes)


def _write(run: Run, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    throughput, latency, calls = PLOTS
    draw(
        series_of(run.results, lambda one: one.per_second, 64),
        "GET rooms, 64 callers of one tenant",
        "answers per second",
        output / throughput,
    )
    draw(
        series_of(run.results, lambda one: one.p50_ms, 1),
        "GET rooms, 1 caller",
        "p50, milliseconds",
        output / latency,
    )
    draw(
        series_of(run.results, lambda one: one.upstream_calls, 64),
        "GET rooms, 64 callers of one tenant",
        "calls to LiveKit for each answer",
        output / calls,
    )
    (output / "results.json").write_text(as_json(run), "utf-8")
    (output / "README.md").write_text(as_markdown(run, PLOTS), "utf-8")
    problems = problems_of(run)
    _say(f"\n{run.minutes:.1f} minutes. Written to {output}/: README.md, results.json, {', '.join(PLOTS)}")
    if cells := left_out(run):
        _say(f"The time was up before {len(cells)} of {len(run.form.cells())} cells were measured.")
    if problems:
        _say(f"{len(problems)} measurements had wrong or missing answers, so the run is void:")
        for problem in problems:
            _say(f"  - {problem}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
