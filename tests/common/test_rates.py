"""How calls are counted: in memory, in Redis for several processes, and while Redis is away."""

import asyncio
from pathlib import Path

import pytest
from limits import parse_many
from structlog.testing import capture_logs

from common import rates
from common.rates import Counts, Rates, open_rates
from tests.support.redis_server import HOW_TO_INSTALL, RedisServer, redis_binary
from tools.ports import free_tcp_port

TWO = parse_many("2/hour")
SETTING = "THE_STORES_SETTING"


async def taken(counted: Rates, who: str, calls: int) -> list[bool]:
    return [await counted.take(who) is None for _ in range(calls)]


async def test_each_caller_has_its_own_count() -> None:
    counted = Rates(TWO)
    assert await taken(counted, "acme", 4) == [True, True, False, False]
    assert await taken(counted, "globex", 1) == [True]
    assert await taken(counted, "acme/globex", 1) == [True]


async def test_a_refusal_says_how_long_to_wait_within_the_rates_time() -> None:
    counted = Rates(parse_many("1/minute"))
    assert await counted.take("acme") is None
    seconds = await counted.take("acme")
    assert seconds is not None
    assert 1 <= seconds <= 60


async def test_every_rate_holds() -> None:
    counted = Rates(parse_many("1/second;3/hour"))
    allowed = 0
    async with asyncio.timeout(10):
        while allowed < 3:
            allowed += await counted.take("acme") is None
            await asyncio.sleep(0.01)
    assert not any(await taken(counted, "acme", 3))


async def test_counts_that_are_over_are_forgotten_wherever_they_stand() -> None:
    counts = Counts()
    for number in range(100):
        await counts.incr(f"key-{number}", 1000 if number % 2 else 0.01)
    await asyncio.sleep(0.02)
    for number in range(50):
        await counts.incr(f"later-{number}", 1000)
    assert len(counts.storage) == len(counts.expirations) == 100
    assert not any(key.startswith("key") and not int(key[4:]) % 2 for key in counts.storage)


async def test_counts_are_so_many_at_most_and_the_newest_is_among_them() -> None:
    counts = Counts(most=10)
    for number in range(1000):
        await counts.incr(f"key-{number}", 1000)
        assert await counts.get(f"key-{number}") == 1
        assert len(counts.storage) == len(counts.expirations) <= 10
    await counts.decr("key-0")
    assert len(counts.storage) <= 10


async def test_several_processes_count_together_in_redis(redis_server: RedisServer) -> None:
    url = f"redis://{redis_server.address}/3"
    asked: list[bool] = []
    async with (
        open_rates(TWO, url, SETTING, asked.append) as one,
        open_rates(TWO, url, SETTING, asked.append) as other,
    ):
        assert one is not None
        assert other is not None
        assert [await each.take("acme") is None for each in (one, other, one, other)] == [
            True,
            True,
            False,
            False,
        ]
        seconds = await other.take("acme")
        assert seconds is not None
        assert 1 <= seconds <= 3600
        assert await other.take("globex") is None
    assert all(asked)


async def test_without_redis_each_process_counts_by_itself_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    now = 100.0
    url = f"redis://:canary@127.0.0.1:{free_tcp_port()}/0"
    async with open_rates(TWO, url, SETTING, asked.append) as counted:
        assert counted is not None
        monkeypatch.setattr(counted, "_clock", lambda: now)
        with capture_logs() as logs:
            assert await taken(counted, "acme", 3) == [True, True, False]
            assert asked == [False]
            now += 2
            assert await taken(counted, "acme", 3) == [False, False, False]
            assert asked == [False, False]
    assert len(logs) == 2
    assert "canary" not in str(logs)
    assert logs[0]["log_level"] == "error"
    assert SETTING in logs[0]["problem"]


async def test_a_redis_that_says_nothing_holds_a_call_up_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "REDIS_SECONDS", 0.05)
    connected = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with open_rates(TWO, f"redis://127.0.0.1:{port}", SETTING) as counted, asyncio.timeout(10):
            assert counted is not None
            waiting = [counted.take("acme") for _ in range(100)]
            allowed = [seconds is None for seconds in await asyncio.gather(*waiting)]
            assert allowed.count(True) == 2
        assert connected.is_set()


async def test_a_redis_that_dies_and_comes_back_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = redis_binary()
    if binary is None:
        pytest.skip(HOW_TO_INSTALL)
    asked: list[bool] = []
    now = 100.0
    async with (
        RedisServer(binary, tmp_path) as redis,
        open_rates(TWO, f"redis://{redis.address}/0", SETTING, asked.append) as counted,
    ):
        assert counted is not None
        monkeypatch.setattr(counted, "_clock", lambda: now)
        assert await counted.take("acme") is None
        await redis.stop()
        assert await taken(counted, "acme", 3) == [True, True, False]
        await redis.start()
        now += 2
        assert await taken(counted, "globex", 3) == [True, True, False]
    assert asked == [True, False, True, True, True]
