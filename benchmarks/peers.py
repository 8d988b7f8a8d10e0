"""Owns who is measured: TenantRooms and its yardsticks, as processes in front of one LiveKit.

Step before: `benchmarks.run`. Step after: `benchmarks.plain_gateway`, `benchmarks.bare_grpc`, or
`tools.stack` with the service and the edge.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import grpc

from benchmarks.layout import TENANTS, secret_of, tenant_name
from benchmarks.plan import Peer, Protocol
from tools.child_process import ChildProcess, basic_environment
from tools.livekit_server import LiveKitServer
from tools.ports import free_tcp_port
from tools.stack import IMPORT_ROOTS, ROOT, Stack

__all__ = ["PATIENT", "RunningPeer", "running", "running_bare"]

START_SECONDS: Final = 20.0
CONSISTENCY: Final = {Peer.TENANTROOMS: "full", Peer.MINIMIZE: "minimize_latency"}

PATIENT: Final = {"TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": "30", "TENANTROOMS_EDGE_TIMEOUT_SECONDS": "60"}
"""Settings that let a slow answer come, so that it is measured instead of counted as an error."""


@dataclass(frozen=True, slots=True)
class RunningPeer:
    """Someone who answers.

    Attributes:
        addresses: "host:port" for each protocol that it speaks.
        pids: process ids by name.
    """

    addresses: Mapping[Protocol, str]
    pids: Mapping[str, int]


@asynccontextmanager
async def running(
    peer: Peer, livekit: LiveKitServer, folder: Path, settings: Mapping[str, str]
) -> AsyncIterator[RunningPeer]:
    """A peer in front of this LiveKit, while the block runs.

    Args:
        peer: TenantRooms in one of its modes, or the plain gateway.
        livekit: who is asked.
        folder: for logs.
        settings: further ones, for TenantRooms.

    Raises:
        ChildFailedError: it does not come up.
    """
    access = {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
    }
    if peer is Peer.PLAIN:
        async with _plain(access, folder) as running_peer:
            yield running_peer
        return
    secrets = [{"id": tenant_name(one), "secret": secret_of(one)} for one in range(TENANTS)]
    port = free_tcp_port()
    stack = Stack(
        {
            **access,
            **PATIENT,
            "AUTH_REQUIRED": "true",
            "AUTH_API_SECRETS_JSON": json.dumps(secrets),
            "TENANTROOMS_LIST_CONSISTENCY": CONSISTENCY[peer],
            **settings,
        },
        host="127.0.0.1",
        port=port,
        grpc_address=f"127.0.0.1:{free_tcp_port()}",
        logs=folder / CONSISTENCY[peer],
        env=os.environ,
    )
    async with stack:
        yield RunningPeer(
            {Protocol.REST: f"127.0.0.1:{port}", Protocol.GRPC: stack.grpc_address},
            {"edge": stack.edge.pid, "service": stack.service.pid},
        )


@asynccontextmanager
async def _plain(access: Mapping[str, str], folder: Path) -> AsyncIterator[RunningPeer]:
    tenants = json.dumps({secret_of(one): tenant_name(one) for one in range(TENANTS)})

    async def answers(port: int) -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"http://127.0.0.1:{port}/livekit/rooms") as answer:
                    return answer.status == 401
            except aiohttp.ClientError:
                return False

    async with _yardstick("plain_gateway", {**access, "SECRETS": tenants}, answers, folder) as (address, pid):
        yield RunningPeer({Protocol.REST: address}, {"gateway": pid})


@asynccontextmanager
async def running_bare(tenantrooms: RunningPeer, folder: Path) -> AsyncIterator[RunningPeer]:
    """Bare grpc.aio, which has its answers from this peer, while the block runs. Raises ChildFailedError."""

    async def answers(port: int) -> bool:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
            except TimeoutError:
                return False
        return True

    target = {"TARGET": tenantrooms.addresses[Protocol.GRPC]}
    async with _yardstick("bare_grpc", target, answers, folder) as (address, pid):
        yield RunningPeer({Protocol.GRPC: address}, {"bare": pid})


@asynccontextmanager
async def _yardstick(
    module: str, settings: Mapping[str, str], answers: Callable[[int], Awaitable[bool]], folder: Path
) -> AsyncIterator[tuple[str, int]]:
    """The address and the process id of a module of this package that serves on PORT."""
    port = free_tcp_port()
    child = ChildProcess(
        f"benchmarks.{module}",
        [sys.executable, "-m", f"benchmarks.{module}"],
        env={
            **basic_environment(os.environ),
            **settings,
            "PYTHONPATH": ":".join(map(str, IMPORT_ROOTS)),
            "PORT": str(port),
        },
        log=folder / f"{module}.log",
        cwd=ROOT,
    )
    try:
        await child.start()
        await child.wait_ready(lambda: answers(port), START_SECONDS)
        yield f"127.0.0.1:{port}", child.pid
    finally:
        await child.stop()
