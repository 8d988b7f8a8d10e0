"""Whatever is stopped, killed or restarted, no answer is wrong, and it goes on as soon as it can."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from livekit.protocol.models import Room

from tenantrooms_client import TenantRoomsError
from tests.end_to_end.asking_on import AskingOn
from tests.end_to_end.callers import ACME, Callers
from tests.end_to_end.conftest import running
from tests.support.full_counts import FullCounts
from tests.support.livekit_double import LiveKitDouble
from tests.support.redis_server import HOW_TO_INSTALL, RedisServer, redis_binary
from tools.livekit_server import LiveKitServer

LIST, OWN = "/livekit/rooms", "/livekit/rooms/own"
SERVICE_NAME = "tenantrooms.v1.TenantRooms"
FAULTS = {b'{"error":"Failed to list rooms"}', b'{"error":"Failed to get room details"}'}

pytestmark = pytest.mark.load


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Callers, Path]]:
    """Two workers in front of a scripted LiveKit, and the folder of the logs. Tests leave all running."""
    logs = tmp_path_factory.mktemp("restarts")
    settings = {
        "AUTH_REQUIRED": "true",
        "TENANTROOMS_EDGE_ANNOUNCE_SECONDS": "0.5",
        "TENANTROOMS_EDGE_WORKERS": "2",
    }
    async with LiveKitDouble() as double:
        double.put_room("own", owner="acme")
        double.put_room("foreign", owner="globex")
        async with running(double, logs, settings) as callers:
            yield callers, logs


@pytest.fixture
async def callers(stage: tuple[Callers, Path]) -> Callers:
    callers, _ = stage
    await until(callers, "/readyz", 200)
    return callers


async def until(callers: Callers, path: str, status: int, seconds: float = 60) -> float:
    """Asks until this is the status; gives the seconds that it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while await status_of(callers, path) != status:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def status_of(callers: Callers, path: str) -> int | None:
    """The status of an answer; None where nobody listens."""
    try:
        return (await callers.rest(path, ACME)).status
    except ConnectionRefusedError:
        return None


def workers_of(callers: Callers) -> set[int]:
    pid = callers.stack.edge.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


async def test_an_edge_that_is_stopped_under_load_answers_whatever_it_has_taken(
    callers: Callers, load: FullCounts
) -> None:  # MATRIX P1
    runs, answered, slowest = load.count(20, short=1), 0, 0.0
    edge = callers.stack.edge
    for run in range(runs):
        load.progress("stops of the edge", run, runs)
        await until(callers, "/readyz", 200)
        async with AskingOn(callers.stack.url, [LIST, OWN], ACME, 32) as asking:
            await asking.until_answers(load.count(1_000, short=100))
            began = time.monotonic()
            await edge.stop(grace=60)
            slowest = max(slowest, time.monotonic() - began)
            assert edge.returncode == 0
        assert asking.statuses.keys() == {200}
        assert asking.lost == 0
        answered += asking.answers.total()
        await edge.start()
    load.figure("P1 (edge)", f"{runs} stops, {answered:,} requests, 0 lost, {slowest:.1f} s at most")
    assert slowest <= load.bound(10)


async def test_a_service_that_is_stopped_under_load_answers_all_that_it_has_taken(
    callers: Callers, load: FullCounts
) -> None:  # MATRIX P1
    runs, answered, slowest = load.count(20, short=1), 0, 0.0
    service = callers.stack.service
    for run in range(runs):
        load.progress("stops of the service", run, runs)
        await until(callers, "/readyz", 200)
        asking = CallingUntilTold(callers)
        async with grpc.aio.insecure_channel(callers.stack.grpc_address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            tasks = [asyncio.create_task(asking.ask_on()) for _ in range(16)]
            await asking.has_begun.wait()
            began = time.monotonic()
            stopping = asyncio.create_task(service.stop(grace=60))
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            asking.ends = True
            await asyncio.gather(*tasks)
            await stopping
            slowest = max(slowest, time.monotonic() - began)
        assert service.returncode == 0
        assert asking.failures == []
        answered += asking.answered
        await service.start()
    load.figure("P1 (service)", f"{runs} stops, {answered:,} calls, 0 failed, {slowest:.1f} s at most")
    assert slowest <= load.bound(10)


class CallingUntilTold:
    """Callers over gRPC that go on until they hear that the service leaves."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self.answered = 0
        self.failures: list[TenantRoomsError] = []
        self.has_begun = asyncio.Event()
        self.ends = False

    async def ask_on(self) -> None:
        while not self.ends:
            try:
                await self._callers.grpc.get_room("own", token=ACME)
            except TenantRoomsError as error:
                self.failures.append(error)
            else:
                self.answered += 1
                if self.answered == 100:
                    self.has_begun.set()


async def test_a_worker_that_is_killed_loses_what_it_had_and_nothing_else(
    stage: tuple[Callers, Path], callers: Callers, load: FullCounts
) -> None:  # MATRIX P2
    callers_at_once, answers = 8, load.count(20_000, short=300)
    log = stage[1] / "edge.log"
    async with AskingOn(callers.stack.url, [LIST, OWN], ACME, callers_at_once) as asking:
        await asking.until_answers(answers // 2, seconds=300)
        had = log.read_text().count('"ready"')
        os.kill(workers_of(callers).pop(), signal.SIGKILL)
        began = time.monotonic()
        async with asyncio.timeout(30):
            while log.read_text().count('"ready"') == had:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        replaced = time.monotonic() - began
        await asking.until_answers(answers // 2, seconds=300)
    lost, sent = asking.lost, asking.answers.total() + asking.lost
    assert asking.statuses.keys() == {200}
    assert lost <= callers_at_once
    assert asking.refused == 0
    share = 1 - lost / sent
    load.figure("P2", f"{share:.3%} of {sent:,} requests answered; replaced in {replaced:.2f} s")
    assert replaced <= load.bound(2)
    if load.full:
        assert share >= 0.999


async def test_who_asks_while_a_service_dies_is_told_at_once_and_served_as_soon_as_it_is_back(
    callers: Callers, load: FullCounts
) -> None:  # MATRIX P6
    runs = load.count(10, short=1)
    gone, back = [], []
    service = callers.stack.service
    for run in range(runs):
        load.progress("deaths of the service", run, runs)
        await until(callers, "/readyz", 200)
        await service.kill()
        gone.append(max(await asyncio.gather(until(callers, "/readyz", 503), until(callers, LIST, 503))))
        answer = await callers.rest(LIST, ACME)
        assert (answer.status, answer.json) == (503, {"error": "Service unavailable"})
        await service.start()
        await service.wait_ready(callers.stack._service_answers, 30)
        back.append(max(await asyncio.gather(until(callers, "/readyz", 200), until(callers, LIST, 200))))
    load.figure("P6", f"unready and 503 after {max(gone):.2f} s, back after {max(back):.2f} s, at most")
    assert max(gone + back) <= load.bound(1)


@pytest.fixture
async def lasting_redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    binary = redis_binary()
    if binary is None:
        pytest.skip(HOW_TO_INSTALL)
    folder = tmp_path / "redis"
    folder.mkdir()
    async with RedisServer(binary, folder, lasting=True) as redis:
        yield redis


def stored_room(name: str, owner: str) -> Room:
    return Room(sid=f"RM_{name}", name=name, metadata=f'{{"auth_id":"{owner}"}}', creation_time=1_767_261_600)


async def test_a_restart_behind_the_service_is_a_fault_and_never_an_empty_list_or_a_missing_room(
    lasting_redis: RedisServer, tmp_path: Path, load: FullCounts
) -> None:  # MATRIX P3 and P4
    runs = load.count(10, short=1)
    await lasting_redis.put_rooms([stored_room("own", "acme"), stored_room("foreign", "globex")])
    async with (
        LiveKitServer(redis_address=lasting_redis.address, log_level="error") as livekit,
        running(livekit, tmp_path, {"AUTH_REQUIRED": "true"}) as callers,
    ):
        listed, own = (await callers.rest(LIST, ACME)).body, (await callers.rest(OWN, ACME)).body
        assert b'"own"' in listed
        allowed = {(200, listed), (200, own), *((500, body) for body in FAULTS)}
        for row, most, stop, start in (
            ("P3", 1, livekit.kill, livekit.start),
            ("P4", 2, lasting_redis.stop, lasting_redis.start),
        ):
            recovered = []
            async with AskingOn(callers.stack.url, [LIST, OWN], ACME, 16) as asking:
                for run in range(runs):
                    load.progress(f"restarts for {row}", run, runs)
                    await asking.until_answers(100)
                    await stop()
                    await until(callers, LIST, 500)
                    await start()
                    asking.mark()
                    recovered.append(await asking.until_well())
            assert asking.answers.keys() <= allowed
            assert asking.lost == 0
            counts = f"{asking.statuses[200]:,} right answers, {asking.statuses[500]:,} faults, 0 others"
            load.figure(row, f"{runs} restarts: {counts}; back after {max(recovered):.2f} s at most")
            assert max(recovered) <= load.bound(most)
