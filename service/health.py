"""Owns what this process says of its health, as `grpc.health.v1` has it: serving, until it begins to stop.

Step before: `service.error_boundary`. There is no step after: nothing is looked up for an answer.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from service.rpc_types import Context

_UNKNOWN: Final = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)


class Health(HealthServicer):
    """The health of the whole process and of its services, which are all well or all leaving.

    grpcio-health-checking's own servicer is not used: it writes to watchers under a lock, so one of them that
    does not read keeps the process from saying that it stops, and it lacks `List`.

    Args:
        services: the names that are known; "" is the process.
    """

    def __init__(self, services: Collection[str]) -> None:
        self._services = frozenset(services)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """From now on nothing is serving; those who watch are told, and their streams end."""
        self._leaving.set()

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """The status of one service; NOT_FOUND where its name is not known."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return self._status()

    async def List(self, request: object, context: Context) -> Any:
        """The status of every service."""
        statuses = dict.fromkeys(self._services, self._status())
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined] # not in the stubs

    async def Watch(
        self, request: HealthCheckRequest, context: Context
    ) -> AsyncIterator[HealthCheckResponse]:
        """The status of one service, now and when it changes; ends with the process."""
        known = request.service in self._services
        yield self._status() if known else _UNKNOWN
        await self._leaving.wait()
        if known:
            yield self._status()

    def _status(self) -> HealthCheckResponse:
        leaving = self._leaving.is_set()
        return HealthCheckResponse(
            status=HealthCheckResponse.NOT_SERVING if leaving else HealthCheckResponse.SERVING
        )
