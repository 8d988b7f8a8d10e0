"""How many may watch the health of the process at a time."""

from collections.abc import AsyncIterator
from typing import Any, Never, cast

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from service.health import MOST_WATCHERS, Health


class Aborted(Exception):
    """The call ended with this status."""


class Peer:
    """The context of a call from this address."""

    def __init__(self, host: str) -> None:
        self._host = host

    def peer(self) -> str:
        return f"ipv4:{self._host}:4000"

    async def abort(self, code: grpc.StatusCode, details: str) -> Never:
        raise Aborted(code)


def watch(health: Health, host: str) -> AsyncIterator[HealthCheckResponse]:
    return health.Watch(HealthCheckRequest(), cast("Any", Peer(host)))


async def test_one_address_cannot_watch_so_often_that_another_can_not() -> None:
    health = Health("service")
    watching = [watch(health, "198.51.100.1") for _ in range(MOST_WATCHERS // 2)]
    for each in watching:
        assert (await anext(each)).status == HealthCheckResponse.SERVING
    with pytest.raises(Aborted, match="RESOURCE_EXHAUSTED"):
        await anext(watch(health, "198.51.100.1"))
    other = watch(health, "198.51.100.2")
    assert (await anext(other)).status == HealthCheckResponse.SERVING
    health.leave()
    for each in (*watching, other):
        assert (await anext(each)).status == HealthCheckResponse.NOT_SERVING
        assert await anext(each, None) is None
    assert (await anext(watch(health, "198.51.100.1"))).status == HealthCheckResponse.NOT_SERVING
