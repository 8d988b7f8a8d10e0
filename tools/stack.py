"""The TenantRooms service and its edge as child processes: for the demo and for measurements."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import aiohttp
import grpc
from grpc_health.v1 import health_pb2

from tools.child_process import ChildProcess, basic_environment

__all__ = ["IMPORT_ROOTS", "ROOT", "Stack"]

ROOT: Final = Path(__file__).resolve().parents[1]
IMPORT_ROOTS: Final = (ROOT, ROOT / "client", ROOT / "generated")
"""Where the project's packages are found, installed or not."""

START_SECONDS: Final = 20.0
EDGE_PREFIX: Final = "TENANTROOMS_EDGE_"
OF_BOTH: Final = ("GRPC_", "PYTHON")  # gRPC's and Python's own variables


class Stack:
    """The service and the edge in front of it, running inside `async with`.

    `settings` are the settings of both, by their names; of the rest of the environment, `env`, they get
    only what any program needs. The edge listens on `host` and `port`, the service on `grpc_address`
    ("host:port"). Their logs are written into the folder `logs`.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        host: str,
        port: int,
        grpc_address: str,
        logs: Path,
        env: Mapping[str, str],
    ) -> None:
        of_both = {name: value for name, value in settings.items() if name.startswith(OF_BOTH)}
        basics = basic_environment(env) | {"PYTHONPATH": ":".join(map(str, IMPORT_ROOTS))} | of_both
        edge_only = {name: value for name, value in settings.items() if name.startswith(EDGE_PREFIX)}
        service_only = {name: value for name, value in settings.items() if name not in edge_only}
        self.service = ChildProcess(
            "The service",
            [sys.executable, "-m", "service"],
            env=basics | service_only | {"TENANTROOMS_GRPC_LISTEN": grpc_address},
            log=logs / "service.log",
            cwd=ROOT,
        )
        self.edge = ChildProcess(
            "The edge",
            [sys.executable, "-m", "edge"],
            env=basics
            | edge_only
            | {"HOST": host, "PORT": str(port), "TENANTROOMS_GRPC_TARGET": grpc_address},
            log=logs / "edge.log",
            cwd=ROOT,
        )
        self.grpc_address = grpc_address
        self.url = f"http://{reachable(host)}:{port}"
        """Where the edge answers."""

    async def __aenter__(self) -> Self:
        """Start both and wait until they answer. Raises ChildFailedError."""
        try:
            await self.service.start()
            await self.edge.start()
            await self.service.wait_ready(self._service_answers, START_SECONDS)
            await self.edge.wait_ready(self._edge_answers, START_SECONDS)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop both, the edge first, so that it refuses nobody for want of its service."""
        try:
            await self.edge.stop()
        finally:
            await self.service.stop()

    async def _service_answers(self) -> bool:
        # A loopback address is no business of a proxy.
        async with grpc.aio.insecure_channel(
            self.grpc_address, options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                answer = await check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _edge_answers(self) -> bool:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session:
            try:
                async with session.get(self.url) as response:
                    return response.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False


def reachable(host: str) -> str:
    """An address by which this machine reaches a server that listens on `host`; IPv6 in brackets."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host
