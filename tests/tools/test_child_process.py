"""Child processes come up, end for good, and take whatever they started with them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tools.child_process import ChildFailedError, ChildProcess, basic_environment

START = "import os, pathlib, signal, subprocess, sys, time\n"
WAIT = "\npathlib.Path('ready').touch()\ntime.sleep(600)"


class Nursery:
    """Children that run Python programs in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[ChildProcess] = []

    def child(self, program: str, env: dict[str, str] | None = None) -> ChildProcess:
        command = [sys.executable, "-c", START + program]
        log = self.folder / "logs" / "child.log"
        made = ChildProcess(
            "The child", command, env=env or basic_environment(os.environ), log=log, cwd=self.folder
        )
        self.children.append(made)
        return made

    async def ready(self) -> bool:
        return (self.folder / "ready").exists()

    async def running(self, program: str) -> ChildProcess:
        child = self.child(program + WAIT)
        await child.start()
        await child.wait_ready(self.ready, 60)
        return child


@pytest.fixture
async def nursery(tmp_path: Path) -> AsyncIterator[Nursery]:
    made = Nursery(tmp_path)
    yield made
    for child in made.children:
        await child.kill()


async def test_a_child_that_is_asked_to_stop_may_end_in_its_own_way(nursery: Nursery) -> None:
    child = await nursery.running("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))")
    await child.stop()
    assert child.returncode == 7
    assert not child.is_running


async def test_a_child_that_does_not_stop_is_killed(nursery: Nursery) -> None:
    child = await nursery.running("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    await child.stop(grace=0.2)
    assert child.returncode == -signal.SIGKILL


async def test_a_child_that_wants_to_be_asked_twice_is_asked_twice(nursery: Nursery) -> None:
    child = await nursery.running(
        "def first(*_): signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "signal.signal(signal.SIGTERM, first)"
    )
    await child.stop(grace=60, insist_after=0.2)
    assert child.returncode == 5


async def test_what_a_child_started_ends_with_it(nursery: Nursery) -> None:
    # Whoever reads a pipe waits until its last writer is gone.
    pipe = nursery.folder / "pipe"
    os.mkfifo(pipe)
    end_of_worker = asyncio.ensure_future(asyncio.to_thread(pipe.read_bytes))
    child = nursery.child(
        'worker = \'import pathlib, time; pipe = open("pipe", "w"); \' + '
        "'pathlib.Path(\"ready\").touch(); time.sleep(600)'\n"
        "subprocess.run([sys.executable, '-c', worker])"
    )
    await child.start()
    await child.wait_ready(nursery.ready, 60)
    assert not end_of_worker.done()
    await child.kill()
    await end_of_worker


async def test_a_child_that_ends_before_it_is_ready_is_an_error_with_the_end_of_its_log(
    nursery: Nursery,
) -> None:
    child = nursery.child("print('early'); sys.exit('no disk left')")
    await child.start()
    with pytest.raises(ChildFailedError, match=r"(?s)The child ended with exit code 1.*no disk left"):
        await child.wait_ready(nursery.ready, 60)


async def test_a_child_that_never_gets_ready_is_an_error_too(nursery: Nursery) -> None:
    child = await nursery.running("print('still thinking', flush=True)")

    async def never() -> bool:
        return False

    with pytest.raises(ChildFailedError, match=r"(?s)did not become ready.*still thinking"):
        await child.wait_ready(never, 0.1)


async def test_a_program_that_cannot_be_run_is_an_error_with_its_name(tmp_path: Path) -> None:
    child = ChildProcess("It", [tmp_path / "absent"], env={}, log=tmp_path / "log", cwd=tmp_path)
    with pytest.raises(ChildFailedError, match="absent could not be started: No such file"):
        await child.start()


async def test_a_child_can_be_started_again_and_its_log_goes_on(nursery: Nursery) -> None:
    child = nursery.child("print('here I am')")
    for _ in range(2):
        await child.start()
        await child.wait()
    assert child.log.read_text().splitlines() == ["here I am"] * 2


def test_the_basic_environment_has_no_secret_no_proxy_and_no_setting_of_a_server() -> None:
    env = {
        "PATH": "/bin",
        "LIVEKIT_API_SECRET": "s",
        "AUTH_API_SECRETS_JSON": "[]",
        "HTTP_PROXY": "http://proxy.invalid",
        "https_proxy": "http://proxy.invalid",
        "GITHUB_TOKEN": "t",
        "PORT": "1",
    }
    assert basic_environment(env) == {"PATH": "/bin"}
