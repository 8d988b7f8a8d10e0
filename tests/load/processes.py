"""What processes hold: memory, descriptors, connections, tasks."""

import os
import shutil
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.load import task_counter
from tests.load.asking import until
from tools.stack import IMPORT_ROOTS, Stack

IDLE_SECONDS = 15.0


@dataclass(frozen=True)
class Held:
    """What a process holds at one moment.

    Attributes:
        resident: bytes of memory.
        descriptors: open files, sockets and the like, but for kept connections to LiveKit: these are
            bounded by themselves, and how many there are depends on the last rush.
        tasks: asyncio's.
    """

    resident: int
    descriptors: int
    tasks: int


class Counted:
    """Counts what processes hold that were started with its `settings`.

    Args:
        folder: an empty one.

    Attributes:
        livekit_port: where LiveKit listens.
    """

    def __init__(self, folder: Path) -> None:
        self.livekit_port = 0
        self._folder = folder
        shutil.copy(task_counter.__file__, folder / "sitecustomize.py")

    @property
    def settings(self) -> dict[str, str]:
        """For the environment of a process."""
        return {"PYTHONPATH": os.pathsep.join(map(str, (self._folder, *IMPORT_ROOTS)))}

    async def held(self, pid: int) -> Held:
        """What this process holds now."""
        process = psutil.Process(pid)
        descriptors = process.num_fds() - connections([pid], self.livekit_port)
        return Held(process.memory_info().rss, descriptors, await self._tasks(pid))

    async def settled(self, pid: int, before: Held, *, descriptors: int) -> Held:
        """What it holds once it has no more tasks than before, and descriptors at most so many more.

        Gives what it holds after a while even if it never comes to that, for the caller to judge.
        """
        held = await self.held(pid)
        clock = time.monotonic()
        while time.monotonic() - clock < IDLE_SECONDS and not (
            held.tasks <= before.tasks and held.descriptors <= before.descriptors + descriptors
        ):
            held = await self.held(pid)
        return held

    async def _tasks(self, pid: int) -> int:
        told = self._folder / str(pid)
        os.kill(pid, signal.SIGUSR2)
        await until(told.exists, f"process {pid} to tell how many tasks it has")
        tasks = int(told.read_text("ascii"))
        told.unlink()
        return tasks


def workers(stack: Stack) -> list[int]:
    """The processes in which the edge serves."""
    return [child.pid for child in psutil.Process(stack.edge.pid).children() if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    return "resource_tracker" not in " ".join(process.cmdline())


def connections(pids: Iterable[int], port: int) -> int:
    """How many connections to this port the processes have."""
    return sum(
        bool(one.raddr) and one.raddr.port == port
        for pid in pids
        for one in psutil.Process(pid).net_connections("tcp")
    )
