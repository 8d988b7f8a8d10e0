"""Owns the load generators: starts one for a cell, and reads what it says.

Step before: `benchmarks.run` has a peer that answers. Step after: `benchmarks.callers`, or wrk with
`check.lua`, in a process of its own.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from benchmarks.callers import Failed, HttpConnection, Job
from benchmarks.figures import Outcome
from benchmarks.usage import children_cpu
from tools.child_process import basic_environment
from tools.stack import IMPORT_ROOTS, ROOT

__all__ = [
    "WRK_MISSING",
    "CallersProcess",
    "DriverError",
    "collect_bodies",
    "run_wrk",
    "wrk_binary",
]

CHECK: Final = Path(__file__).with_name("check.lua")
OUTCOME: Final = re.compile(r"^OUTCOME (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+) ?(.*)$", re.MULTILINE)
WRK_TIMEOUT_SECONDS: Final = 20
WRK_MISSING: Final = (
    "there is no wrk on PATH. Debian and Ubuntu: apt-get install wrk; macOS: brew install wrk"
)


class DriverError(Exception):
    """A load generator could not do its work; the message is for a person."""


def wrk_binary() -> Path | None:
    """The wrk on PATH."""
    found = shutil.which("wrk")
    return None if found is None else Path(found)


async def collect_bodies(job: Job) -> list[bytes]:
    """The right body for each request of a job, asked for and checked here.

    Raises:
        DriverError: an answer was wrong, or there was none.
    """
    gate = asyncio.Semaphore(8)

    async def body_of(place: int) -> bytes:
        request = job.requests[place]
        async with gate:
            connection = HttpConnection(job.protocol, job.address)
            try:
                async with asyncio.timeout(job.patience):
                    body = await connection.call(request)
            except (Failed, TimeoutError) as error:
                raise DriverError(f"no answer to {request.rest_path()}: {error!r}") from error
            finally:
                connection.close()
        if not request.is_right(job.protocol, body):
            raise DriverError(f"a wrong answer to {request.rest_path()}: {body[:200]!r}")
        return body

    return list(await asyncio.gather(*map(body_of, range(len(job.requests)))))


async def run_wrk(binary: Path, job: Job, bodies: list[bytes], seconds: int) -> Outcome:
    """Let wrk play the callers of a job for so many whole seconds.

    Where callers ask for different things each has a thread of its own, so that an answer to another caller's
    request is a wrong one. Requests that are under way at the end are dropped, and count for nothing. wrk
    corrects its percentiles for coordinated omission.

    Raises:
        DriverError: wrk failed.
    """
    threads = 1 if len(job.requests) == 1 else job.callers
    with tempfile.TemporaryDirectory(prefix="wrk-") as name:
        folder = Path(name)
        requests = folder / "requests"
        requests.write_bytes(_records(each.http(job.protocol, job.address) for each in job.requests))
        right = folder / "bodies"
        right.write_bytes(_records(bodies))
        command: list[str | Path] = [
            *(
                binary,
                "--threads",
                str(threads),
                "--connections",
                str(job.callers),
                "--duration",
                f"{seconds}s",
            ),
            *("--timeout", f"{WRK_TIMEOUT_SECONDS}s", "--script", CHECK, f"http://{job.address}/"),
            *("--", requests, right),
        ]
        used = children_cpu()
        async with _process(command) as process:
            output = (await process.communicate())[0].decode("utf-8", "replace")
        used = children_cpu() - used
    found = OUTCOME.search(output)
    if process.returncode != 0 or found is None:
        raise DriverError(f"wrk ended with exit code {process.returncode}:\n{output[-2_000:]}")
    return Outcome(
        answers=int(found[1]),
        wrong=int(found[2]),
        failed=int(found[3]),
        seconds=float(found[4]),
        p50=float(found[5]),
        p99=float(found[6]),
        problem=found[7] or ("connections failed, or timed out" if int(found[3]) else ""),
        cpu_seconds=used,
    )


class CallersProcess:
    """`benchmarks.callers` with one job, ready to start, inside `async with`."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._started: contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process] | None = None

    async def __aenter__(self) -> Self:
        """Start the process and wait until it has warmed up. Raises DriverError."""
        self._started = _process([sys.executable, "-m", "benchmarks.callers"])
        self._process = await self._started.__aenter__()
        try:
            await self._write(self._job.to_json())
            await self._line()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the process."""
        if self._started:
            await self._started.__aexit__(None, None, None)

    async def run(self) -> Outcome:
        """Let the callers call; what came of it. Raises DriverError."""
        await self._write("go")
        return Outcome(**json.loads(await self._line()))

    async def _write(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - asked for with PIPE
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def _line(self) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - asked for with PIPE
        line = await self._process.stdout.readline()
        if not line:
            raise DriverError("the callers' process ended without a word; its errors are above")
        return line


def _records(contents: Iterable[bytes]) -> bytes:
    return b"".join(b"%d\n%b" % (len(content), content) for content in contents)


@asynccontextmanager
async def _process(command: list[str | Path]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child in a session of its own, so that Ctrl-C reaches its parent only; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=basic_environment(os.environ) | {"PYTHONPATH": ":".join(map(str, IMPORT_ROOTS))},
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
