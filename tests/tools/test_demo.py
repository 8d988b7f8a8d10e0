"""`python -m tools.demo`: real answers on the screen, an orderly end, nothing touched that is not its own."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.real_livekit import RealLiveKit
from tools.child_process import basic_environment

ROOT = Path(__file__).resolve().parents[2]
LAST_LINE = "Ctrl-C stops everything."


class Demo:
    """A running demo and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed = ""

    async def read(self, until: str | None = None) -> str:
        """All that it prints up to a line, or to its end."""
        assert self.process.stdout
        async with asyncio.timeout(90):
            while line := (await self.process.stdout.readline()).decode():
                self.printed += line
                if until and until in line:
                    return self.printed
        assert until is None, self.printed
        return self.printed

    def children(self) -> list[int]:
        """The processes that it has started."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


def is_program(pid: int, name: str) -> bool:
    return name in Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def remaining(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


class Demos:
    """Starts demos, and ends those that a failed test has left."""

    def __init__(self, folder: Path, started: AsyncExitStack) -> None:
        self._folder, self._started = folder, started

    async def __call__(self, **env: str) -> Demo:
        ports = {"PORT": "0", "DEMO_GRPC_PORT": "0", "DEMO_LIVEKIT_PORT": "0", "DEMO_LOGS": str(self._folder)}
        server = {name: os.environ[name] for name in ("LIVEKIT_SERVER_BIN",) if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tools.demo",
            cwd=ROOT,
            env={**basic_environment(os.environ), "PYTHONPATH": "client:generated", **server, **ports, **env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._started.push_async_callback(self._end, process)
        return Demo(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Demos]:
    async with AsyncExitStack() as started:
        yield Demos(tmp_path / "logs", started)


def shown(printed: str) -> dict[str, str]:
    """What stands below each curl line, by the title above it."""
    return dict(re.findall(r"^(\w.*)\n  \$ curl .*\n((?:  .*\n)+)", printed, re.MULTILINE))


def answers(printed: str) -> dict[str, Any]:
    """The answers that are JSON alone, as those with status 200 are."""
    return {title: json.loads(body) for title, body in shown(printed).items() if body.startswith("  {")}


async def ask(printed: str, title: str) -> tuple[int, str]:
    """Send the request of the curl line under this title."""
    found = re.search(rf"^{re.escape(title)}\n  \$ (curl .*)$", printed, re.MULTILINE)
    assert found, printed
    line = found[1]
    url = line.split()[2]
    header = re.search(r"'Authorization: (.*)'", line)
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": header[1]} if header else {}
        async with session.get(url, headers=headers) as response:
            return response.status, await response.text()


async def test_the_screen_shows_each_callers_real_answers_and_ctrl_c_leaves_nothing(demo: Demos) -> None:
    running = await demo()
    printed = await running.read(until=LAST_LINE)

    lists = {
        title: {room["name"] for room in answer["rooms"]}
        for title, answer in answers(printed).items()
        if "rooms" in answer
    }
    acme, globex = lists["Tenant acme sees its own"], lists["Tenant globex sees its own"]
    assert acme == {"reception", "weekly-sync", "interview 24/7"}
    assert globex == {"support-desk", "launch-review"}
    assert lists["The operator sees all"] == acme | globex | {"lobby"}
    for title, names in lists.items():
        status, body = await ask(printed, title)
        assert (status, {room["name"] for room in json.loads(body)["rooms"]}) == (200, names)

    metrics = re.search(r"^  Metrics +(http://\S+)$", printed, re.MULTILINE)
    assert metrics, printed
    async with aiohttp.ClientSession() as session, session.get(metrics[1]) as response:
        assert 'tenantrooms_rooms{owner="tenant"} 5.0' in (await response.text()).splitlines()

    details = answers(printed)["Tenant acme looks into one of its rooms"]
    assert (details["name"], details["num_participants"]) == ("reception", 1)
    assert [(guest["identity"], guest["state"]) for guest in details["participants"]] == [
        ("visitor-1", "ACTIVE")
    ]

    masked = shown(printed)["What acme must not see answers like what does not exist"].splitlines()
    assert [line.partition("<-")[2].strip() for line in masked] == [
        "support-desk (globex's)",
        "lobby (neither tenant's)",
        "no-such-room (absent)",
    ]
    assert len({line.partition("<-")[0] for line in masked}) == 1
    assert '404 {"error":"Room not found or not accessible"}' in masked[0]
    assert (await ask(printed, "Without a credential"))[0] == 401
    assert "3 ['interview 24/7', 'reception', 'weekly-sync']" in printed
    program = printed.partition("<<'END'\n")[2].partition("END\n")[0]
    compile(program, "the program on the screen", "exec")
    assert "/docs" in printed

    children = running.children() if sys.platform == "linux" else []
    running.process.send_signal(signal.SIGINT)
    assert "nothing is left running" in await running.read()
    assert await running.process.wait() == 0
    assert remaining(children) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_when_a_part_dies_it_is_named_and_the_others_are_stopped(demo: Demos) -> None:
    running = await demo()
    await running.read(until=LAST_LINE)
    children = running.children()
    (edge,) = [pid for pid in children if is_program(pid, "edge")]
    os.kill(edge, signal.SIGKILL)
    printed = await running.read()
    assert await running.process.wait() == 1
    assert "The edge ended with exit code -9" in printed
    assert "edge.log" in printed
    assert remaining(children) == []


async def test_an_own_livekit_is_shown_and_left_as_it_is(demo: Demos, real_livekit: RealLiveKit) -> None:
    await real_livekit.create_room("planning", owner="umbra")
    await real_livekit.create_room("review\x9b2J", owner="vega")
    before = {room.sid for room in await real_livekit.list_rooms()}
    running = await demo(
        LIVEKIT_URL=real_livekit.ws_url,
        LIVEKIT_API_KEY=real_livekit.api_key,
        LIVEKIT_API_SECRET=real_livekit.api_secret,
        AUTH_API_SECRETS_JSON='[{"id":"umbra","secret":"hush-umbra"},{"id":"vega","secret":"hush-vega"}]',
    )
    await running.read(until=LAST_LINE)
    running.process.send_signal(signal.SIGTERM)
    printed = await running.read()
    assert await running.process.wait() == 0
    assert [room["name"] for room in answers(printed)["Tenant umbra sees its own"]["rooms"]] == ["planning"]
    assert "hush" not in printed
    assert "\x9b" not in printed
    assert {room.sid for room in await real_livekit.list_rooms()} == before


async def test_a_livekit_that_does_not_answer_is_said_with_the_services_reason(demo: Demos) -> None:
    running = await demo(LIVEKIT_URL="ws://127.0.0.1:1", LIVEKIT_API_KEY="key", LIVEKIT_API_SECRET="s" * 32)
    printed = await running.read()
    assert await running.process.wait() == 1
    assert "LiveKit cannot be asked" in printed
    assert "Traceback" not in printed


async def test_unusable_settings_end_it_at_once(demo: Demos) -> None:
    running = await demo(PORT="none")
    assert "PORT=none is not a port" in await running.read()
    assert await running.process.wait() == 2
