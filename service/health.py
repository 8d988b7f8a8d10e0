"""Owns what this process says of its health, as `grpc.health.v1` has it.

Two names are known. "" is the process: serving, until it begins to stop. The service's own name tells whether
it can answer callers: serving while it is ready, until the process begins to stop.

Step before: `service.error_boundary`. There is no step after: nothing is looked up for an answer.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from common.fair_share import FairShare
from service.client_address import ClientAddresses
from service.rpc_types import Context

MOST_WATCHERS: Final = 1024
"""Streams of `Watch` at a time; one address has as many as it leaves free. `Check` is never refused."""

_UNKNOWN: Final = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
_PROCESS: Final = ""


class Health(HealthServicer):
    """The health of the process and of its service.

    grpcio-health-checking's own servicer is not used: it writes to watchers under a lock, so one of them that
    does not read keeps the process from saying that it stops, and it lacks `List`.

    Args:
        service: the name of the service, which is not ready yet.

    Attributes:
        leaving: whether the process has begun to stop.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._ready = False
        self.leaving = False
        self._changed = asyncio.Event()
        self._watchers: FairShare[str] = FairShare(MOST_WATCHERS)
        self._addresses = ClientAddresses(())

    @property
    def ready(self) -> bool:
        """Whether callers can be answered, and the process stays."""
        return self._ready and not self.leaving

    def become(self, ready: bool) -> None:
        """From now on the service is ready, or it is not; those who watch are told."""
        self._ready = ready
        self._tell()

    def leave(self) -> None:
        """From now on nothing is serving; those who watch are told, and their streams end."""
        self.leaving = True
        self._tell()

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """The status of one name; NOT_FOUND where it is not known."""
        if not self._knows(request.service):
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return self._status(request.service)

    async def List(self, request: object, context: Context) -> Any:
        """The status of every name."""
        statuses = {name: self._status(name) for name in (_PROCESS, self._service)}
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined] # not in the stubs

    async def Watch(
        self, request: HealthCheckRequest, context: Context
    ) -> AsyncIterator[HealthCheckResponse]:
        """The status of one name, now and when it changes; ends with the process.

        RESOURCE_EXHAUSTED where too many watch.
        """
        address = self._addresses.of((), context.peer())
        if not self._watchers.enter(address):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many watchers")
        try:
            name, said = request.service, None
            while True:
                # Taken first, so that no change is missed while one is sent.
                changed, leaving = self._changed, self.leaving
                now = self._status(name) if self._knows(name) else _UNKNOWN
                if now != said:
                    said = now
                    yield now
                if leaving:
                    return
                await changed.wait()
        finally:
            self._watchers.leave(address)

    def _knows(self, name: str) -> bool:
        return name in (_PROCESS, self._service)

    def _status(self, name: str) -> HealthCheckResponse:
        serving = self.ready if name == self._service else not self.leaving
        return HealthCheckResponse(
            status=HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        )

    def _tell(self) -> None:
        # Who waits on the old event looks anew; who comes from now on waits on the next.
        self._changed.set()
        self._changed = asyncio.Event()
