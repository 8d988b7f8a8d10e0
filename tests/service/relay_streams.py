"""A relay that serves on a stream, with calls that wait at a gate."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import StatusCode

from service.auth.api_secrets import ApiSecret, ApiSecrets
from service.auth.authenticator import Authenticator
from service.authentication import AuthenticationInterceptor
from service.error_boundary import ErrorBoundary
from service.relay.calls import RelayedCalls, handlers_of
from service.relay.servicer import Relay
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.relay.v1.relay_pb2_grpc import add_RelayServicer_to_server
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import GET_ROOM, Context, Scripted, bearer
from tests.service.relay_calls import RelayCaller, relayed

SECRETS = ApiSecrets(ApiSecret(f"tenant-{number}", f"secret-{number}") for number in range(50))


TOKEN = bearer("secret-0")


class Gate:
    """Calls wait in it, by the name of the room that they ask for."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Event] = {}
        self.cancelled: set[str] = set()
        self._changed = asyncio.Event()

    async def __call__(self, request: pb.GetRoomRequest, _context: Context) -> pb.GetRoomResponse:
        name = request.room_name
        opened = self.waiting[name] = asyncio.Event()
        self._changed.set()
        try:
            await opened.wait()
        except asyncio.CancelledError:
            self.cancelled.add(name)
            self._changed.set()
            raise
        return pb.GetRoomResponse(room=pb.Room(name=name))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_waiting(self, *names: str) -> None:
        await self.until(lambda: self.waiting.keys() >= set(names))

    async def until_cancelled(self, *names: str) -> None:
        await self.until(lambda: self.cancelled >= set(names))

    def let(self, name: str) -> None:
        self.waiting[name].set()


class Served:
    """A server with a relay and nothing else, and a channel to it."""

    def __init__(
        self,
        server: grpc.aio.Server,
        relay: Relay,
        target: str,
        channel: grpc.aio.Channel,
        door: AuthenticationInterceptor,
    ) -> None:
        self.server, self.relay, self.target, self.channel, self.door = server, relay, target, channel, door


@asynccontextmanager
async def serving(
    behaviour: Callable[[Any, Context], Awaitable[Any]], stream_seconds: float | None = None
) -> AsyncIterator[Served]:
    door = AuthenticationInterceptor(Authenticator([SECRETS], required=True))
    interceptors = [ErrorBoundary(), door]
    relay = Relay(RelayedCalls(interceptors, handlers_of(Scripted(behaviour))), stream_seconds)
    server = grpc.aio.server(
        interceptors=interceptors, options=[("grpc.max_receive_message_length", 64 * 1024)]
    )
    add_RelayServicer_to_server(relay, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    target = f"127.0.0.1:{port}"
    options = [("grpc.max_receive_message_length", 8 * 1024 * 1024)]
    try:
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            yield Served(server, relay, target, channel, door)
    finally:
        await server.stop(None)


def room(name: str, call_id: int, milliseconds: int = 60_000, token: str = "secret-0") -> relay_pb2.Call:
    request = pb.GetRoomRequest(room_name=name)
    return relayed(GET_ROOM, request, bearer(token), call_id=call_id, milliseconds=milliseconds)


async def ended(caller: RelayCaller) -> StatusCode:
    """The code with which a stream ends; what still comes before that is of no interest."""
    try:
        while True:
            await caller.frame()
    except EOFError:
        return StatusCode.OK
    except grpc.aio.AioRpcError as failure:
        return failure.code()
