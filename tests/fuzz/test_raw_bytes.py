"""Bytes that no client would send, to the edge's port and to the service's: both go on serving."""

import asyncio
import contextlib
import random
import struct
import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.callers import ACME, Callers
from tests.end_to_end.conftest import running
from tests.support.full_counts import FullCounts
from tests.support.livekit_double import LiveKitDouble

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SHARE_OF_THE_TIME = 0.25
ANSWER_SECONDS = 0.02


@pytest.fixture(scope="module")
async def callers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callers]:
    logs = tmp_path_factory.mktemp("fuzz")
    async with LiveKitDouble() as double:
        double.put_room("own", owner="acme")
        async with running(double, logs, {"AUTH_REQUIRED": "true"}) as started:
            pids = started.stack.service.pid, started.stack.edge.pid
            yield started
            assert pids == (started.stack.service.pid, started.stack.edge.pid)
            assert started.stack.service.is_running
            assert started.stack.edge.is_running
            for log in ("service.log", "edge.log"):
                text = (logs / log).read_text()
                assert "Traceback" not in text
                assert "unexpected" not in text.lower()


def frame(chance: random.Random) -> bytes:
    """An HTTP/2 frame of some kind, known or not, its length true or not."""
    payload = chance.randbytes(chance.choice((0, 1, 4, 5, 6, 8, 9, 40, 300)))
    length = len(payload) if chance.random() < 0.9 else chance.choice((0, 1, 2**14, 2**24 - 1))
    kind = chance.choice((*range(10), 10, 255))
    stream = chance.choice((0, 0, 1, 1, 3, 5, 2, 2**31 - 1, 2**32 - 1))
    flags = chance.choice((0, 1, 4, 5, 8, 0x20, 0xFF))
    return length.to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def http2(chance: random.Random) -> bytes:
    """A connection to a gRPC server: a preface, right or nearly so, and frames."""
    preface = PREFACE if chance.random() < 0.9 else PREFACE[: chance.randrange(len(PREFACE))]
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" if chance.random() < 0.8 else b""
    return preface + settings + b"".join(frame(chance) for _ in range(chance.randrange(12)))


def http1(chance: random.Random) -> bytes:
    """A request to the edge with something wrong in it, or several, or none at all."""
    request = bytearray(
        b"GET /livekit/rooms HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\nContent-Length: 0\r\n\r\n"
        * chance.choice((1, 1, 3))
    )
    for _ in range(chance.randrange(8)):
        place = chance.randrange(len(request))
        some = chance.choice((b"\r\n", b"\x00", b":", b" ", b"%", b"\xff", b"Transfer-Encoding: chunked\r\n",
                              b"\r\n\r\n", b"HTTP/2.0", chance.randbytes(3), b"a" * 5000))  # fmt: skip
        request[place : place + chance.choice((0, 1, 4))] = some
    return bytes(request[: chance.choice((len(request), chance.randrange(len(request) + 1)))])


async def sent(host: str | None, port: int | None, content: bytes) -> bytes:
    """All that comes back within a moment."""
    reader, writer = await asyncio.open_connection(host, port)
    answer = b""
    try:
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(content)
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await reader.read(2**16)
    finally:
        writer.close()
    return answer


async def play(
    callers: Callers, port: str, make: Callable[[random.Random], bytes], fuzz: FullCounts
) -> tuple[int, list[bytes]]:
    """Sends until the time is over, in eight connections at a time; gives the count, and answers."""
    address = urlsplit(f"//{port}")
    ends = time.monotonic() + (fuzz.seconds * SHARE_OF_THE_TIME if fuzz.full else 0.5)
    answers: list[bytes] = []
    seeds = iter(range(10**9))

    async def one() -> None:
        while time.monotonic() < ends:
            seed = next(seeds)
            content = make(random.Random(seed))
            answer = await sent(address.hostname, address.port, content)
            assert b"Traceback" not in answer, seed
            assert not answer.startswith(b"HTTP/1.1 5"), (seed, content, answer)
            answers.append(answer)
            fuzz.progress(f"connections to {port}", seed, seed)

    async with asyncio.TaskGroup() as players:
        for _ in range(8):
            players.create_task(one())
    assert await callers.rest_names(ACME) == ["own"]
    assert await callers.grpc_names(ACME) == ["own"]
    return next(seeds), answers


@pytest.mark.fuzz
async def test_the_service_survives_any_frames(callers: Callers, fuzz: FullCounts) -> None:
    """MATRIX X3."""
    count, _ = await play(callers, callers.stack.grpc_address, http2, fuzz)
    fuzz.figure("X3 (HTTP/2 frames)", f"{count:,} connections: 0 crashes")


@pytest.mark.fuzz
async def test_the_edge_survives_any_request(callers: Callers, fuzz: FullCounts) -> None:
    """MATRIX X3."""
    address = urlsplit(callers.stack.url).netloc
    count, answers = await play(callers, address, http1, fuzz)
    assert any(answers)
    fuzz.figure("X3 (HTTP/1.1 bytes)", f"{count:,} connections: 0 crashes, 0 × 5xx")
