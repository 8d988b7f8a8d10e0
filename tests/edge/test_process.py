"""The edge's process: how it starts, what it says when it cannot, how it stops."""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from common.floods import BURST, LEFT_OUT
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.edge.edge_process import EdgeProcess, environment, eventually, parse, start
from tests.edge.fake_service import FakeService
from tests.support.certificate_authority import Authority
from tools.ports import free_tcp_port

ROOMS = "/livekit/rooms"


async def failed_start(settings: dict[str, str]) -> tuple[int, str]:
    """The exit code and all output of an edge that does not start; generous, as the machine may be busy."""
    with tempfile.TemporaryFile() as log:
        process = await start(settings, log)
        async with asyncio.timeout(20):
            code = await process.wait()
        log.seek(0)
        return code, log.read().decode()


async def until(edge: EdgeProcess, status: int, path: str = ROOMS) -> None:
    """Asks until the edge answers with this status."""

    async def answers() -> bool:
        return (await edge.ask(path)).status == status

    await eventually(answers)


async def test_bad_settings_are_told_all_at_once_and_without_their_values() -> None:
    code, output = await failed_start(
        {
            "PORT": "hunter2",
            "TENANTROOMS_GRPC_TARGET": "http://hunter2",
            "TENANTROOMS_EDGE_WORKERS": "hunter2",
            "TENANTROOMS_EDGE_TIMEOUT_SECOND": "hunter2",
        }
    )
    assert code == 2
    assert output.splitlines() == [
        "The settings cannot be used:",
        "  - TENANTROOMS_EDGE_TIMEOUT_SECOND: no such setting; "
        "did you mean TENANTROOMS_EDGE_TIMEOUT_SECONDS?",
        "  - PORT: should be a valid integer, unable to parse string as an integer",
        "  - TENANTROOMS_GRPC_TARGET: must be host:port or unix:path",
        "  - TENANTROOMS_EDGE_WORKERS: should be a valid integer, unable to parse string as an integer",
    ]


async def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = await failed_start({"PORT": str(port)})
    assert code == 2
    assert output == (
        f"Cannot listen on 127.0.0.1:{port}: Address already in use. HOST and PORT say where to listen.\n"
    )


async def test_two_edges_do_not_share_a_port_silently() -> None:
    async with EdgeProcess({}) as edge:
        code, output = await failed_start({"PORT": str(edge.port)})
        assert code == 2
        assert "Address already in use" in output


async def test_a_host_that_is_none_is_named() -> None:
    code, output = await failed_start({"HOST": "no-such-host.invalid", "PORT": str(free_tcp_port())})
    assert code == 2
    assert output.startswith("Cannot listen on no-such-host.invalid:")
    assert "Traceback" not in output


async def test_a_host_that_cannot_be_looked_up_is_a_bad_setting() -> None:
    code, output = await failed_start({"HOST": "x" * 64 + ".example.com", "PORT": str(free_tcp_port())})
    assert code == 2
    assert output == "The settings cannot be used:\n  - HOST: must be an IP address or a host name\n"


async def test_a_host_name_will_do() -> None:
    async with EdgeProcess({"HOST": "localhost"}) as edge:
        assert (await edge.ask("/")).status == 200


@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, True)],
)
async def test_a_stop_is_clean_and_leaves_no_process(number: signal.Signals, group: bool) -> None:
    async with EdgeProcess({"TENANTROOMS_EDGE_WORKERS": "2"}) as edge:
        await edge.ask("/")
        assert await edge.stop(number, group=group) == 0
        assert "Traceback" not in edge.log
        assert "worker_killed" not in edge.log
        with pytest.raises(ProcessLookupError):
            os.killpg(edge.process.pid, 0)


async def test_a_stop_lets_the_requests_under_way_finish(service: FakeService) -> None:
    service.script.hold = asyncio.Event()
    service.script.rooms = [pb.RoomSummary(name="a")]
    async with EdgeProcess({"TENANTROOMS_GRPC_TARGET": service.address}) as edge:
        asked = asyncio.create_task(edge.ask(ROOMS))
        await service.script.arrived.wait()
        stopped = asyncio.create_task(edge.stop())

        async def is_closed() -> bool:
            return not await edge.accepts()

        await eventually(is_closed)
        service.script.hold.set()
        assert (await asked).json == {"rooms": [{"name": "a", "num_participants": 0, "creation_time": 0}]}
        assert await stopped == 0


async def test_a_stop_waits_for_a_stuck_body_no_longer_than_for_headers() -> None:
    async with EdgeProcess({"TENANTROOMS_EDGE_HEADER_TIMEOUT_SECONDS": "0.5"}) as edge:
        reader, writer = await edge.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await edge.stop() == 0
        # An answer, and no line but the usual ones: the worker has not been killed.
        assert parse(await reader.read()).status == 408
        events = [json.loads(line)["event"] for line in edge.log.splitlines()]
        assert set(events) <= {"serving", "relay_changed", "request", "not_ready"}
        writer.close()


async def test_a_stop_does_not_wait_for_ever(service: FakeService) -> None:
    service.script.hold = asyncio.Event()
    settings = {"TENANTROOMS_EDGE_TIMEOUT_SECONDS": "300", "TENANTROOMS_EDGE_STOP_TIMEOUT_SECONDS": "1"}
    async with EdgeProcess({**settings, "TENANTROOMS_GRPC_TARGET": service.address}) as edge:
        _, writer = await edge.connect()
        writer.write(b"GET /livekit/rooms HTTP/1.1\r\nHost: a\r\n\r\n")
        await service.script.arrived.wait()
        async with asyncio.timeout(20):
            assert await edge.stop() == 0
        assert "worker_killed" in edge.log
        writer.close()


async def test_a_stop_is_announced_before_anybody_is_refused(service: FakeService) -> None:
    """MATRIX P1: it is not ready, and serves on; connections end with their next answer."""
    service.script.rooms = [pb.RoomSummary(name="a")]
    settings = {"TENANTROOMS_GRPC_TARGET": service.address, "TENANTROOMS_EDGE_ANNOUNCE_SECONDS": "2"}
    async with EdgeProcess(settings) as edge:
        await until(edge, 200, "/readyz")
        reader, writer = await edge.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"connection: close" not in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(b'{"status":"OK"}'))
        stopped = asyncio.create_task(edge.stop())
        await until(edge, 503, "/readyz")
        assert (await edge.ask("/livez")).status == 200
        assert (await edge.ask(ROOMS)).status == 200
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        last = parse(await reader.read())
        assert (last.status, last.header("connection")) == (200, "close")
        writer.close()
        assert await stopped == 0


async def test_a_second_signal_ends_it_at_once(service: FakeService) -> None:
    service.script.hold = asyncio.Event()
    settings = {
        "TENANTROOMS_GRPC_TARGET": service.address,
        "TENANTROOMS_EDGE_TIMEOUT_SECONDS": "300",
        "TENANTROOMS_EDGE_STOP_TIMEOUT_SECONDS": "300",
        "TENANTROOMS_EDGE_ANNOUNCE_SECONDS": "300",
    }
    async with EdgeProcess(settings) as edge:
        await until(edge, 200, "/readyz")
        _, writer = await edge.connect()
        writer.write(b"GET /livekit/rooms HTTP/1.1\r\nHost: a\r\n\r\n")
        await service.script.arrived.wait()
        edge.process.terminate()
        await until(edge, 503, "/readyz")
        async with asyncio.timeout(20):
            assert await edge.stop() == 0
        assert _group_is_gone(edge)
        writer.close()


async def test_it_is_ready_while_the_service_is(service: FakeService) -> None:
    """MATRIX P6."""
    address = f"127.0.0.1:{free_tcp_port()}"
    async with EdgeProcess({"TENANTROOMS_GRPC_TARGET": address}) as edge:
        reply = await edge.ask("/readyz")
        assert (reply.status, reply.json) == (503, {"error": "Not ready"})
        assert (await edge.ask("/livez")).json == {"status": "OK"}
        async with FakeService(address) as there:
            await until(edge, 200, "/readyz")
            await there.be_ready(False)
            await until(edge, 503, "/readyz")
            assert (await edge.ask(ROOMS)).status == 200  # callers are answered all the same
            await there.be_ready(True)
            await until(edge, 200, "/readyz")
        await until(edge, 503, "/readyz")
        assert await edge.stop() == 0
        events = [json.loads(line)["event"] for line in edge.log.splitlines()]
        changes = [event for event in events if event in ("ready", "not_ready")]
        assert changes == ["not_ready", "ready", "not_ready", "ready", "not_ready"]


async def test_who_connects_while_there_is_no_worker_waits_for_the_next(service: FakeService) -> None:
    """MATRIX P2."""
    async with EdgeProcess({"TENANTROOMS_GRPC_TARGET": service.address}) as edge:
        await until(edge, 200)
        (worker,) = _children(edge.process.pid)
        os.kill(worker, signal.SIGKILL)
        async with asyncio.timeout(30):
            assert (await edge.ask(ROOMS)).status == 200


async def test_a_worker_that_dies_is_replaced(service: FakeService) -> None:
    async with EdgeProcess({"TENANTROOMS_GRPC_TARGET": service.address}) as edge:
        await until(edge, 200)
        (worker,) = _children(edge.process.pid)
        os.kill(worker, signal.SIGKILL)

        async def has_another() -> bool:
            return bool(_children(edge.process.pid) - {worker}) and await edge.accepts()

        await eventually(has_another)
        await until(edge, 200)
        assert await edge.stop() == 0


async def test_a_flood_is_few_records_and_at_the_end_how_many_were_left_out() -> None:
    async with EdgeProcess({}) as edge:
        for _ in range(BURST + 30):
            assert (await edge.ask("/nowhere")).status == 404
        assert await edge.stop() == 0
        records = [json.loads(line) for line in edge.log.splitlines()]
    written = sum(record.get("status") == 404 and record["event"] == "request" for record in records)
    told = sum(record.get("not_logged", 0) for record in records)
    assert written + told == BURST + 30
    (last,) = (record for record in records if record["event"] == LEFT_OUT)
    assert (last["status"], last["level"]) == (404, "info")


async def problems(edge: EdgeProcess, count: int) -> list[str]:
    """What the records of so many requests, which may come after their answers, say of the service."""

    def found() -> list[dict[str, str]]:
        told = [json.loads(line) for line in edge.log.splitlines() if line.endswith("}")]
        return [record for record in told if record["event"] == "request" and "code" in record]

    async def are_recorded() -> bool:
        return len(found()) >= count

    await eventually(are_recorded)
    return [record["problem"] for record in found()]


async def test_a_call_that_takes_too_long_is_given_up(service: FakeService) -> None:
    service.script.hold = asyncio.Event()
    settings = {"TENANTROOMS_EDGE_TIMEOUT_SECONDS": "0.2", "TENANTROOMS_GRPC_TARGET": service.address}
    async with EdgeProcess(settings) as edge:
        for path in (ROOMS, f"{ROOMS}/a"):
            reply = await edge.ask(path)
            assert (reply.status, reply.json) == (503, {"error": "Service unavailable"})
        assert (
            await problems(edge, 2)
            == [f"the service at {service.address} did not answer within TENANTROOMS_EDGE_TIMEOUT_SECONDS"]
            * 2
        )
    assert all(call.seconds_left < 1 for call in service.calls)
    assert len(service.calls) == 2


async def test_the_order_of_starts_does_not_matter_and_a_service_may_come_and_go() -> None:
    address = f"127.0.0.1:{free_tcp_port()}"
    async with EdgeProcess({"TENANTROOMS_GRPC_TARGET": address}) as edge:
        for path in (ROOMS, f"{ROOMS}/a"):
            reply = await edge.ask(path)
            assert (reply.status, reply.json) == (503, {"error": "Service unavailable"})
        assert (await edge.ask("/")).status == 200
        assert await problems(edge, 2) == [f"the service at {address} does not answer"] * 2
        for _ in range(2):
            async with FakeService(address):
                await until(edge, 200)
            await until(edge, 503)


async def test_grpc_writes_no_lines_of_its_own_into_the_log(tmp_path: Path) -> None:
    settings = {
        "TENANTROOMS_EDGE_GRPC_TLS": "true",
        "TENANTROOMS_EDGE_GRPC_CA_FILE": str(Authority(tmp_path).file),
    }
    async with (
        FakeService() as service,  # in plain text, so that handshakes fail
        EdgeProcess({**settings, "TENANTROOMS_GRPC_TARGET": service.address}) as edge,
    ):
        assert (await edge.ask(ROOMS)).status == 503

        async def is_recorded() -> bool:  # after the answer has left
            return edge.log.count("\n") >= 4

        await eventually(is_recorded)
        events = [json.loads(line)["event"] for line in edge.log.splitlines()]
        assert sorted(events) == ["not_ready", "relay_changed", "request", "serving"]


def _group_is_gone(edge: EdgeProcess) -> bool:
    try:
        os.killpg(edge.process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def _children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


async def test_the_process_that_forks_the_workers_has_no_grpc() -> None:
    """gRPC does not survive a fork."""
    program = "import sys, edge.__main__; sys.exit('grpc' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, env=environment({}))
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("settings", "warnings"),
    [
        ({}, []),
        ({"TENANTROOMS_GRPC_TARGET": "rooms.invalid:50051"}, ["plain_text_to_the_service"]),
        (
            {"TENANTROOMS_GRPC_TARGET": "rooms.invalid:50051", "TENANTROOMS_EDGE_GRPC_TLS": "true"},
            [],
        ),
        ({"HOST": "0.0.0.0"}, ["plain_text_listener"]),
    ],
    ids=["all on this machine", "the service elsewhere", "the service elsewhere, with TLS", "open to others"],
)
async def test_plain_text_beyond_this_machine_is_warned_of_at_start(
    tmp_path: Path, settings: dict[str, str], warnings: list[str]
) -> None:
    if "TENANTROOMS_EDGE_GRPC_TLS" in settings:
        settings = {**settings, "TENANTROOMS_EDGE_GRPC_CA_FILE": str(Authority(tmp_path).file)}
    async with EdgeProcess(settings) as edge:
        assert await edge.stop() == 0
        logged = [json.loads(line) for line in edge.log.splitlines()]
    warned = [line["event"] for line in logged if line["level"] == "warning"]
    assert [event for event in warned if event != "not_ready"] == warnings  # there is no service
