"""Drives an asyncio servicer with grpcio-testing, which knows threads and sync servicers only.

docs/adr/0001 says what it can show honestly, and what needs a real server.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Final

import grpc
import grpc_testing  # type: ignore[import-untyped]  # it has no annotations
from google.protobuf.message import Message

from tenantrooms.v1 import tenant_rooms_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["TenantRooms"]


class AsyncContext:
    """The servicer context of grpc.aio, as far as it can be had over the one of grpcio-testing."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def invocation_metadata(self) -> Any:
        return self._context.invocation_metadata()

    def time_remaining(self) -> float | None:
        remaining: float | None = self._context.time_remaining()
        return remaining

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._context.set_trailing_metadata(metadata)


class _SyncServicer:
    """Runs the rpcs of an asyncio servicer on its loop; each in the context of whoever invoked it."""

    def __init__(self, servicer: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._servicer, self._loop = servicer, loop
        self.caller = contextvars.copy_context()

    def __getattr__(self, rpc: str) -> Callable[[Message, Any], Any]:
        behaviour: Callable[[Message, AsyncContext], Awaitable[Any]] = getattr(self._servicer, rpc)

        def serve(request: Message, context: Any) -> Any:
            done: Future[Any] = Future()

            def start() -> None:
                task = asyncio.ensure_future(behaviour(request, AsyncContext(context)))
                context.add_callback(lambda: self._loop.call_soon_threadsafe(task.cancel))
                task.add_done_callback(lambda task: _pass_on(task, done))

            self._loop.call_soon_threadsafe(start, context=self.caller.copy())
            return done.result()

        return serve


def _pass_on(task: "asyncio.Future[Any]", done: "Future[Any]") -> None:
    if task.cancelled():
        done.cancel()
    elif error := task.exception():
        done.set_exception(error)
    else:
        done.set_result(task.result())


class TestingServer:
    """A grpcio-testing server around an asyncio servicer, and its clock, which only a test moves."""

    __test__ = False

    def __init__(self, servicer: Any) -> None:
        self._servicer = _SyncServicer(servicer, asyncio.get_running_loop())
        self.clock = grpc_testing.strict_fake_time(0)
        self._server = grpc_testing.server_from_dictionary({SERVICE: self._servicer}, self.clock)

    def start(self, request: Message, timeout: float | None = None) -> Any:
        """Starts the rpc that takes this request, in the context of whoever asks."""
        self._servicer.caller = contextvars.copy_context()
        rpc = SERVICE.methods_by_name[type(request).__name__.removesuffix("Request")]
        return self._server.invoke_unary_unary(rpc, (), request, timeout)

    async def call(self, request: Message) -> tuple[Any, grpc.StatusCode]:
        """The response, or None, and the code of the rpc that takes this request."""
        response, _, code, _ = await asyncio.to_thread(self.start(request).termination)
        if isinstance(response, bytes):  # encoded already, which grpcio-testing hands over as it is
            response_type = type(request).__name__.removesuffix("Request") + "Response"
            response = getattr(pb, response_type).FromString(response)
        return response, code
