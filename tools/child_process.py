"""One child process: started with a log file of its own, waited for until ready, stopped for good."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tools.progress import last_lines

__all__ = ["ChildFailedError", "ChildProcess", "basic_environment"]

POLL_SECONDS: Final = 0.05

PASSED_ON: Final = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE",
                    "TMPDIR", "TZ")  # fmt: skip


class ChildFailedError(Exception):
    """A child did not come up, or ended by itself; the message shows the last lines of its log."""


def basic_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The part of `env` that any program needs: no secret, no proxy, nothing that configures a server."""
    return {name: env[name] for name in PASSED_ON if name in env}


class ChildProcess:
    """A program run as a child, in a session of its own: a Ctrl-C on the terminal reaches its parent only.

    Both its outputs are appended to `log`. `name` is what messages call it. Use `start`, then
    `wait_ready`, then `stop`; `start` may follow `stop`.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], *, env: Mapping[str, str], log: Path, cwd: Path
    ) -> None:
        self.name, self.log = name, log
        self._command, self._env, self._cwd = command, env, cwd
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id of the child that was started last."""
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """The exit code (-N: killed by signal N); None while the child runs."""
        return self._started().returncode

    @property
    def is_running(self) -> bool:
        """Whether the child was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the child. Raises ChildFailedError when the program cannot be run."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                )
            except OSError as error:
                raise ChildFailedError(
                    f"{self.name}: {self._command[0]} could not be started: {error.strerror}."
                ) from error

    async def wait_ready(self, probe: Callable[[], Awaitable[bool]], timeout: float) -> None:
        """Wait until `probe` says true.

        Raises ChildFailedError when the child ends before that, or after `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while not await probe():
                    if self.returncode is not None:
                        raise self.failure()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise ChildFailedError(
                f"{self.name} did not become ready in {timeout:.0f} s. {self._log_shown()}"
            ) from None

    async def wait(self) -> int:
        """Wait until the child ends; its exit code."""
        return await self._started().wait()

    async def stop(self, *, grace: float = 10.0, insist_after: float | None = None) -> None:
        """End the child and whatever it has started: SIGTERM, and SIGKILL after `grace` seconds.

        `insist_after` sends a second SIGTERM after that many seconds, which some servers take as leave
        to drop their clients. Nothing happens when the child does not run.
        """
        process = self._process
        if process is None:
            return
        try:
            for seconds in [grace] if insist_after is None else [insist_after, grace - insist_after]:
                if process.returncode is None:
                    process.terminate()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await process.wait()
                        break
        finally:
            await self.kill()

    async def kill(self) -> None:
        """End the child and whatever it has started at once."""
        process = self._process
        if process is None:
            return
        # The whole group: workers outlive a parent that was killed or crashed.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    def failure(self) -> ChildFailedError:
        """The error to raise when the child has ended by itself."""
        return ChildFailedError(f"{self.name} ended with exit code {self.returncode}. {self._log_shown()}")

    def _log_shown(self) -> str:
        return f"The end of its log ({self.log}):\n{last_lines(self.log)}"

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started.")
        return self._process
