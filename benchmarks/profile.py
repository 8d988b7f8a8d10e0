"""`make profile`: where the time of the service and of the edge goes while callers call.

py-spy samples both processes from outside, so they run as they always do. It prints, for each process, the
functions in which most samples were taken, alone and with what they call, and writes all stacks to
.cache/profile/*.folded, one a line, as flame graph viewers read them.
"""

import argparse
import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.callers import Job
from benchmarks.drivers import WRK_MISSING, CallersProcess, DriverError, collect_bodies, run_wrk, wrk_binary
from benchmarks.layout import SIZES, TENANTS
from benchmarks.peers import RunningPeer, running
from benchmarks.plan import Kind, Load, Peer, Protocol
from benchmarks.requests import requests_of
from benchmarks.run import Tools
from benchmarks.stopping import run_until_stopped
from benchmarks.upstream import Upstream
from tests.support.redis_server import redis_binary
from tools.child_process import ChildFailedError, basic_environment
from tools.livekit_build import LiveKitBuildError, server_binary
from tools.stack import ROOT

__all__ = ["Hotspots", "hotspots", "main"]

OUTPUT: Final = ROOT / ".cache" / "profile"
SAMPLES_PER_SECOND: Final = 250
SHOWN: Final = 25
KINDS: Final = {"list": Kind.LIST, "distinct": Kind.DISTINCT, "polled": Kind.POLLED}
MODES: Final = {"full": Peer.TENANTROOMS, "minimize_latency": Peer.MINIMIZE}


@dataclass(frozen=True, slots=True)
class Hotspots:
    """How often a function was seen: `alone` at the top of a stack, `within` anywhere in it; of `samples`."""

    samples: int
    alone: Counter[str]
    within: Counter[str]


def hotspots(folded: Iterable[str]) -> Hotspots:
    """What stacks say, one a line: functions from the outermost on with `;` between, a blank, a count."""
    samples, alone, within = 0, Counter[str](), Counter[str]()
    for line in folded:
        stack, _, count_text = line.rstrip("\n").rpartition(" ")
        count = int(count_text)
        functions = [one for one in stack.split(";") if not one.startswith("process ")]
        if not functions:
            continue
        samples += count
        alone[functions[-1]] += count
        for function in set(functions):
            within[function] += count
    return Hotspots(samples, alone, within)


def main(arguments: Sequence[str] | None = None) -> int:
    """Profile; the exit status: 0, 1 when something failed, 2 for missing programs, 130 if stopped."""
    options = _options(arguments)
    redis, wrk = redis_binary(), wrk_binary()
    py_spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if redis is None or wrk is None or py_spy is None:
        print(WRK_MISSING if wrk is None else "redis-server and py-spy are needed", file=sys.stderr)
        return 2
    load = Load(KINDS[options.kind], options.rooms, options.tenants, options.callers)
    try:
        tools = Tools(server_binary(os.environ), redis, wrk)
        run_until_stopped(_profile(load, options, tools, Path(py_spy)))
    except (ChildFailedError, LiveKitBuildError, DriverError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; nothing is left running.", file=sys.stderr)
        return 130
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make profile", description="Profiles the service and the edge.")
    parser.add_argument("--kind", choices=KINDS, default="list", help="what the callers ask for")
    parser.add_argument("--rooms", type=int, choices=SIZES, default=1_000)
    parser.add_argument("--tenants", type=int, choices=(1, TENANTS), default=1)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--grpc", action="store_true", help="call over gRPC, past the edge")
    parser.add_argument("--mode", choices=MODES, default="full", help="TENANTROOMS_LIST_CONSISTENCY")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--native", action="store_true", help="show compiled code too, which slows things")
    return parser.parse_args(arguments)


async def _profile(load: Load, options: argparse.Namespace, tools: Tools, py_spy: Path) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as parts:
        upstream = await parts.enter_async_context(Upstream(tools.livekit, tools.redis, OUTPUT))
        await upstream.fill(load.store)
        peer = await parts.enter_async_context(running(MODES[options.mode], upstream.livekit, OUTPUT, {}))
        protocol = Protocol.GRPC if options.grpc else Protocol.REST
        job = Job(
            protocol=protocol,
            address=peer.addresses[protocol],
            requests=requests_of(load),
            callers=load.callers,
            # py-spy begins a little after the load and ends before it.
            seconds=options.seconds + 2,
            warm_up=1.0,
        )
        print(
            f"{load.kind.value}, {load.rooms:,} rooms, {load.callers} callers, {protocol.value} …", flush=True
        )
        bodies = [] if options.grpc else await collect_bodies(job)
        async with CallersProcess(job) if options.grpc else _nobody() as callers:
            calling = callers.run() if callers else run_wrk(tools.wrk, job, bodies, options.seconds + 2)
            load_task = asyncio.ensure_future(calling)
            await asyncio.sleep(1)
            await asyncio.gather(*(_sampled(py_spy, name, peer, options) for name in peer.pids))
            outcome = await load_task
    print(
        f"{outcome.per_second:,.0f} answers/s while sampled; {outcome.wrong} wrong, {outcome.failed} failed"
    )
    for name in peer.pids:
        _show(name, OUTPUT / f"{name}.folded", options.seconds)
    print(f"\nAll stacks: {OUTPUT}/*.folded")


@asynccontextmanager
async def _nobody() -> AsyncIterator[None]:
    yield None


async def _sampled(py_spy: Path, name: str, peer: RunningPeer, options: argparse.Namespace) -> None:
    """Let py-spy look at a process and its workers. Raises DriverError."""
    process = await asyncio.create_subprocess_exec(
        *(py_spy, "record", "--pid", str(peer.pids[name]), "--subprocesses", "--nonblocking"),
        *("--rate", str(SAMPLES_PER_SECOND), "--duration", str(options.seconds), "--format", "raw"),
        *("--function", "--output", OUTPUT / f"{name}.folded"),
        *(["--native"] if options.native else []),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=basic_environment(os.environ),
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise DriverError(
            "py-spy may not look at other processes here: run as root, allow it with "
            f"`sysctl kernel.yama.ptrace_scope=0`, or give the container SYS_PTRACE. It said:\n"
            f"{output.decode('utf-8', 'replace')}"
        )


def _show(name: str, folded: Path, seconds: int) -> None:
    """Print where a process was most often; compiled code counts for the function that called it."""
    found = hotspots(folded.read_text("utf-8").splitlines())
    if not found.samples:
        print(f"\nThe {name} had nothing to do.")
        return
    busy = found.samples / (seconds * SAMPLES_PER_SECOND)
    print(f"\nThe {name}: {busy:.2f} threads busy on average, {found.samples:,} samples")
    print(f"{'alone':>7} {'within':>7}  function")
    for function, count in found.alone.most_common(SHOWN):
        share, within = count / found.samples, found.within[function] / found.samples
        print(f"{share:7.1%} {within:7.1%}  {function}")


if __name__ == "__main__":
    sys.exit(main())
