"""A gRPC server that has nothing to do: what grpc.aio itself takes, the least for a service on it.

Passes each question on to TenantRooms once, and from then on sends the same bytes again. Settings are PORT
and TARGET, the address of TenantRooms' gRPC listener.

Step before: `benchmarks.peers` starts it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import uvloop

__all__ = ["FromMemory", "main"]

_Behaviour = Callable[[bytes, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]

LARGEST_ANSWER: Final = 64 * 1024 * 1024


class FromMemory(grpc.GenericRpcHandler):
    """Answers every unary rpc with what was answered to the same caller's same question before.

    Args:
        target: who is asked the first time.
    """

    def __init__(self, target: grpc.aio.Channel) -> None:
        self._target = target
        self._answers: dict[tuple[str, str | bytes, bytes], bytes] = {}
        self._behaviours: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """The handler for this method; it takes and gives encoded messages."""
        method = handler_call_details.method
        if method not in self._behaviours:
            self._behaviours[method] = grpc.unary_unary_rpc_method_handler(self._behaviour(method))
        return self._behaviours[method]

    def _behaviour(self, method: str) -> _Behaviour:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._target.unary_unary(method)

        async def answer(question: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            credential = next(
                (value for key, value in context.invocation_metadata() or () if key == "authorization"), ""
            )
            place = method, credential, question
            if place not in self._answers:
                self._answers[place] = await ask(question, metadata=(("authorization", credential),))
            return self._answers[place]

        return answer


async def serve(port: int, target: str) -> None:
    """Serves until it is killed."""
    options = [("grpc.max_receive_message_length", LARGEST_ANSWER)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers([FromMemory(channel)])
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()


def main() -> None:
    """Reads the settings and serves."""
    uvloop.run(serve(int(os.environ["PORT"]), os.environ["TARGET"]))


if __name__ == "__main__":
    main()
