"""A real LiveKit server as a child process, on the loopback address only: for tests, demo and benchmarks.

    async with LiveKitServer() as server:
        ... server.url, server.api_key, server.api_secret ...

`python -m tools.livekit_server` finds or builds the server (tools/livekit_build.py) and prints its path.
"""

import asyncio
import json
import os
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Final, Self

import aiohttp

from tools.child_process import ChildFailedError, ChildProcess, basic_environment
from tools.livekit_build import main, server_binary
from tools.ports import free_tcp_port, free_udp_port, is_taken

__all__ = ["LiveKitServer"]

START_SECONDS: Final = 20.0
STOP_SECONDS: Final = 6.0
INSIST_SECONDS: Final = 0.5
"""A LiveKit asked to stop waits for its participants to leave, until it is asked again."""

PORT_ATTEMPTS: Final = 3


class LiveKitServer:
    """A LiveKit server, running inside `async with`.

    `binary` is looked for, or built, when not given. `port` (HTTP and websocket, TCP) and `udp_port`
    (media) are free ones unless given. With `redis_address` ("host:port") rooms live in that Redis,
    else in memory. `api_secret` is random unless given. A room without participants is closed after
    `empty_timeout` seconds, unless its creator said otherwise. With `metrics` it answers Prometheus too.
    The log goes to `log`, or to a temporary folder that goes with the server.
    """

    def __init__(
        self,
        *,
        binary: Path | None = None,
        port: int | None = None,
        udp_port: int | None = None,
        redis_address: str | None = None,
        api_key: str = "devkey",
        api_secret: str | None = None,
        empty_timeout: int = 300,
        log: Path | None = None,
        log_level: str = "info",
        metrics: bool = False,
    ) -> None:
        self.api_key = api_key
        self.api_secret = api_secret or secrets.token_urlsafe(32)
        self._binary, self._log = binary, log
        self._given_ports = (port, udp_port)
        self._port = 0
        self._redis_address, self._empty_timeout, self._log_level = redis_address, empty_timeout, log_level
        self._metrics, self._metrics_port = metrics, 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._child: ChildProcess | None = None

    async def __aenter__(self) -> Self:
        """Start the server and wait until it answers.

        Raises LiveKitBuildError when there is no server to start, ChildFailedError when it does not
        come up.
        """
        binary = self._binary
        if binary is None:
            binary = await asyncio.to_thread(server_binary, os.environ)
        self._folder = tempfile.TemporaryDirectory(prefix="livekit-")
        folder = Path(self._folder.name)
        try:
            for attempt in range(1, PORT_ATTEMPTS + 1):
                self._child = self._configured(folder, binary)
                try:
                    await self.start()
                    break
                except ChildFailedError as error:
                    # A free port may be taken by someone else before the server takes it.
                    chosen_here = None in self._given_ports
                    if not chosen_here or "in use" not in str(error) or attempt == PORT_ATTEMPTS:
                        raise
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the server and remove its folder."""
        try:
            await self.stop()
        finally:
            if self._folder:
                self._folder.cleanup()

    @property
    def url(self) -> str:
        """Where the API answers: http://127.0.0.1:PORT."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        """Where participants join: ws://127.0.0.1:PORT."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus would read, with `metrics`: http://127.0.0.1:PORT/metrics."""
        return f"http://127.0.0.1:{self._metrics_port}/metrics"

    @property
    def child(self) -> ChildProcess:
        """The server's process."""
        if self._child is None:
            raise RuntimeError("The LiveKit server runs inside `async with` only.")
        return self._child

    @property
    def pid(self) -> int:
        """The server's process id; another one after a restart."""
        return self.child.pid

    async def start(self) -> None:
        """Start the server again, on the same ports, after `stop` or `kill`; wait until it answers."""
        child = self.child
        if is_taken("127.0.0.1", self._port):
            # Else whoever answers there would be mistaken for this server.
            raise ChildFailedError(f"LiveKit cannot listen on port {self._port}: the port is in use.")
        await child.start()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
                await child.wait_ready(lambda: self._answers(session), START_SECONDS)
        except BaseException:
            await child.kill()
            raise

    async def stop(self) -> None:
        """Stop the server, participants or not; what it holds in memory is gone."""
        if self._child:
            await self._child.stop(grace=STOP_SECONDS, insist_after=INSIST_SECONDS)

    async def kill(self) -> None:
        """End the server as a crash would."""
        await self.child.kill()

    async def restart(self) -> None:
        """Stop, then start."""
        await self.stop()
        await self.start()

    def _configured(self, folder: Path, binary: Path) -> ChildProcess:
        """Choose the ports that were not given, write the configuration, and make the child for it."""
        port, udp_port = self._given_ports
        self._port = port or free_tcp_port()
        config = {
            "port": self._port,
            "bind_addresses": ["127.0.0.1"],
            "rtc": {
                "udp_port": udp_port or free_udp_port(),
                # Media over TCP would listen on every address.
                "tcp_port": 0,
                "use_external_ip": False,
                "node_ip": "127.0.0.1",
                "interfaces": {"includes": ["lo", "lo0"]},
                "enable_loopback_candidate": True,
            },
            "keys": {self.api_key: self.api_secret},
            "room": {"empty_timeout": self._empty_timeout},
            "logging": {"level": self._log_level},
        }
        if self._redis_address:
            config["redis"] = {"address": self._redis_address}
        if self._metrics:
            self._metrics_port = free_tcp_port()
            config["prometheus"] = {"port": self._metrics_port}
        file = folder / "livekit.yaml"
        file.touch(mode=0o600)
        file.write_text(json.dumps(config), "utf-8")  # JSON is YAML
        return ChildProcess(
            "LiveKit",
            [binary, "--config", file],
            env=basic_environment(os.environ),
            log=self._log or folder / "livekit.log",
            cwd=folder,
        )

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        # aiohttp heeds no proxy settings unless asked to.
        try:
            async with session.get(self.url) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


if __name__ == "__main__":
    sys.exit(main())
