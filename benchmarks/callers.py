"""A process that plays callers with asyncio: over gRPC, over HTTP/1.1, or bare Twirp. It checks every answer.

Reads a job, one line of JSON, from standard input; prints `ready` once warmed up; starts on the next line of
input; prints the outcome as one line of JSON. Each call that was started is waited for.

Step before: `benchmarks.drivers` starts it.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle
from typing import Any, Final

import grpc
import uvloop
from google.protobuf.message import DecodeError

from benchmarks.figures import Outcome, percentile
from benchmarks.plan import Protocol
from benchmarks.requests import Request

__all__ = ["Job", "main"]

READ_LIMIT: Final = 4 * 1024 * 1024
LARGEST_ANSWER: Final = 512 * 1024 * 1024
WARM_UP_CALLERS: Final = 4
"""As a slow answer to 64 callers would make a warm-up of a minute."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the process is to do.

    Attributes:
        protocol: how to ask.
        address: whom to ask, "host:port".
        requests: what to ask, in turn.
        callers: how many ask at once; each sends its next request when it has its answer.
        seconds: no request is started after that.
        warm_up: seconds of the same before anything is measured.
        patience: seconds after which the calls that are still under way are given up.
    """

    protocol: Protocol
    address: str
    requests: list[Request]
    callers: int
    seconds: float
    warm_up: float
    patience: float = 60.0

    def to_json(self) -> str:
        """One line."""
        requests = [request.to_mapping() for request in self.requests]
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({**fields, "protocol": self.protocol.value, "requests": requests})

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """What `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        protocol = Protocol(fields.pop("protocol"))
        requests = [Request.from_mapping(each) for each in fields.pop("requests")]
        return cls(protocol=protocol, requests=requests, **fields)


class Failed(Exception):
    """A call gave an error."""


Call = Callable[[Request], Awaitable[bytes]]
"""Sends a request and gives the body of the answer; raises Failed."""


class HttpConnection:
    """One kept-alive connection. What it costs a call is a tenth of what a full HTTP client does."""

    def __init__(self, protocol: Protocol, address: str) -> None:
        self._protocol, self._address = protocol, address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, request: Request) -> bytes:
        """The body of a 200; raises Failed."""
        try:
            if self._streams is None:
                host, _, port = self._address.rpartition(":")
                self._streams = await asyncio.open_connection(host, int(port), limit=READ_LIMIT)
            reader, writer = self._streams
            writer.write(request.http(self._protocol, self._address))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(_body_length(head))
        except (OSError, EOFError) as error:
            self.close()
            raise Failed(repr(error)) from error
        except BaseException:
            self.close()
            raise
        if not head.startswith(b"http/1.1 200 "):
            raise Failed(_shown(head, body))
        return body

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._streams:
            self._streams[1].close()
        self._streams = None


def _body_length(head: bytes) -> int:
    """What Content-Length says, in lower case; raises Failed without one."""
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if not found:
        raise Failed("an answer without Content-Length")
    return int(rest.partition(b"\r\n")[0])


def _shown(head: bytes, body: bytes) -> str:
    status = head.partition(b"\r\n")[0].decode("latin-1")
    return f"{status} {body[:200].decode('utf-8', 'replace')}"


class GrpcCaller:
    """Calls over one channel, as the coroutines of one internal service do. Bodies stay encoded."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._methods: dict[str, Any] = {}

    async def call(self, request: Request) -> bytes:
        """The encoded answer; raises Failed."""
        name = request.grpc_method()
        method = self._methods.get(name) or self._methods.setdefault(name, self._channel.unary_unary(name))
        try:
            body: bytes = await method(
                request.grpc_message(), metadata=(("authorization", f"Bearer {request.token}"),)
            )
        except grpc.aio.AioRpcError as error:
            raise Failed(f"{error.code().name} {error.details()}") from error
        return body


class Checked:
    """Tells right answers from wrong ones. A body that was right once is right whenever it comes again."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._right: dict[int, bytes | int] = {}  # by the request's identity: its hash would cost more

    def is_right(self, request: Request, body: bytes) -> bool:
        """Whether this is the answer to that request."""
        # A scan comes in any order, so of the later ones only the length is compared.
        sample: bytes | int = len(body) if self._protocol is Protocol.TWIRP else body
        if self._right.get(id(request)) == sample:
            return True
        try:
            right = request.is_right(self._protocol, body)
        except (ValueError, KeyError, TypeError, DecodeError):
            return False
        if right:
            self._right[id(request)] = sample
        return right


@dataclass
class Tally:
    """What happened so far; times in seconds."""

    times: list[float] = field(default_factory=list)
    last: float = 0.0
    wrong: int = 0
    failed: int = 0
    problem: str = ""

    def outcome(self, start: float, unanswered: int) -> Outcome:
        """All of it."""
        late = f"{unanswered} calls were given up" if unanswered else ""
        return Outcome(
            answers=len(self.times),
            seconds=max(self.last - start, 1e-9),
            p50=percentile(self.times, 50),
            p99=percentile(self.times, 99),
            wrong=self.wrong,
            failed=self.failed,
            unanswered=unanswered,
            problem=self.problem or late,
        )


async def measure(job: Job, calls: Sequence[Call], checked: Checked, seconds: float) -> Outcome:
    """Let every caller ask for so many seconds, and wait for the answers that are still to come."""
    tally = Tally()
    upcoming = cycle(job.requests)
    start, used = time.perf_counter(), time.process_time()

    async def caller(call: Call) -> None:
        while time.perf_counter() < start + seconds:
            request = next(upcoming)
            began = time.perf_counter()
            try:
                body = await call(request)
            except Failed as failure:
                tally.failed += 1
                tally.problem = tally.problem or str(failure)
                await asyncio.sleep(0.01)  # who is refused at once must not fill the machine with refusals
                continue
            ended = time.perf_counter()
            if checked.is_right(request, body):
                tally.times.append(ended - began)
                tally.last = ended
            else:
                tally.wrong += 1
                tally.problem = tally.problem or f"a wrong answer: {body[:200]!r}"

    running = [asyncio.create_task(caller(call)) for call in calls]
    try:
        _, late = await asyncio.wait(running, timeout=seconds + job.patience)
        for task in running:
            if task not in late:
                task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    return replace(tally.outcome(start, len(late)), cpu_seconds=time.process_time() - used)


async def work(job: Job) -> Outcome:
    """Do the job, with `ready` on the way."""
    checked = Checked(job.protocol)
    if job.protocol is Protocol.GRPC:
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", LARGEST_ANSWER)]
        async with grpc.aio.insecure_channel(job.address, options=options) as channel:
            caller = GrpcCaller(channel)
            calls: list[Call] = [caller.call] * job.callers
            await warm_up(job, calls, checked)
            return await measure(job, calls, checked, job.seconds)
    connections = [HttpConnection(job.protocol, job.address) for _ in range(job.callers)]
    calls = [connection.call for connection in connections]
    try:
        await warm_up(job, calls, checked)
        for connection in connections:
            connection.close()  # a server may have closed those that have nothing to do since
        return await measure(job, calls, checked, job.seconds)
    finally:
        for connection in connections:
            connection.close()


async def warm_up(job: Job, calls: Sequence[Call], checked: Checked) -> None:
    """Call for a while with a few callers, say so, and wait for the word. What fails will fail again."""
    if job.warm_up:
        await measure(job, calls[:WARM_UP_CALLERS], checked, job.warm_up)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


def main() -> int:
    """Do the job on standard input."""
    job = Job.from_json(sys.stdin.readline())
    print(json.dumps(asdict(uvloop.run(work(job)))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
