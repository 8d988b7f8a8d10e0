"""The whole of TenantRooms, as processes of their own, in front of the real LiveKit."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.end_to_end.callers import ACME, GLOBEX, OPERATOR, Callers
from tests.support.livekit_double import LiveKitDouble
from tools.livekit_server import LiveKitServer
from tools.ports import free_tcp_port
from tools.stack import Stack

SECRETS = json.dumps(
    [
        {"id": "acme", "secret": ACME},
        {"id": "globex", "secret": GLOBEX},
        {"id": "on-call", "secret": OPERATOR, "role": "operator"},
    ]
)


class Upstream(Protocol):
    """A LiveKit, real or scripted."""

    api_key: str
    api_secret: str

    @property
    def ws_url(self) -> str: ...


@asynccontextmanager
async def running(
    livekit: Upstream, logs: Path, settings: Mapping[str, str | None]
) -> AsyncIterator[Callers]:
    """The service and the edge with these settings, and callers of both; None unsets a setting."""
    given = {
        "LIVEKIT_URL": livekit.ws_url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
        "AUTH_API_SECRETS_JSON": SECRETS,
        "TENANTROOMS_EDGE_ANNOUNCE_SECONDS": "0",
        **settings,
    }
    grpc_address = f"127.0.0.1:{free_tcp_port()}"
    stack = Stack(
        {name: value for name, value in given.items() if value is not None},
        host="127.0.0.1",
        port=free_tcp_port(),
        grpc_address=grpc_address,
        logs=logs,
        env=os.environ,
    )
    async with stack, Callers(stack) as callers:
        yield callers


@pytest.fixture(scope="session")
async def walled(
    livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callers]:
    """TenantRooms as it should run: with AUTH_REQUIRED on. All tests share it."""
    logs = tmp_path_factory.mktemp("walled")
    async with running(livekit_server, logs, {"AUTH_REQUIRED": "true"}) as callers:
        yield callers


@pytest.fixture(scope="session")
async def unwalled(
    livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Callers]:
    """TenantRooms in the backward-compatible mode: callers without a credential see all rooms."""
    async with running(livekit_server, tmp_path_factory.mktemp("unwalled"), {}) as callers:
        yield callers


# --- for modules with a fixture `double_and_callers`, a stack in front of a scripted LiveKit ---


@pytest.fixture
def double(double_and_callers: tuple[LiveKitDouble, Callers]) -> LiveKitDouble:
    """The module's scripted LiveKit, without what the test before left."""
    double, _ = double_and_callers
    double.heal()
    double.forget()
    return double


@pytest.fixture
def callers(double_and_callers: tuple[LiveKitDouble, Callers]) -> Callers:
    """Who asks the module's stack."""
    return double_and_callers[1]
