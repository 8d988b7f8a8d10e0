"""The bare gRPC server sends what TenantRooms answered to the same caller's same question."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import pytest

from benchmarks.bare_grpc import FromMemory

Asked = list[tuple[bytes, str]]


class Answers(grpc.GenericRpcHandler):
    """Answers with the method, the credential and the question, and notes who asked what."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        async def answer(question: bytes, context: Any) -> bytes:
            credential = dict(context.invocation_metadata())["authorization"]
            self._asked.append((question, credential))
            return b"|".join((handler_call_details.method.encode(), credential.encode(), question))

        return grpc.unary_unary_rpc_method_handler(answer)


async def serving(handlers: Sequence[grpc.GenericRpcHandler]) -> tuple[grpc.aio.Server, str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture
def asked() -> Asked:
    return []


@pytest.fixture
async def bare(asked: Asked) -> AsyncIterator[grpc.aio.Channel]:
    target, address = await serving([Answers(asked)])
    async with grpc.aio.insecure_channel(address) as to_target:
        server, address = await serving([FromMemory(to_target)])
        async with grpc.aio.insecure_channel(address) as channel:
            yield channel
        await server.stop(None)
    await target.stop(None)


async def test_a_question_is_passed_on_once_and_no_caller_gets_the_answer_to_another(
    bare: grpc.aio.Channel, asked: Asked
) -> None:
    questions = [
        (method, question, credential)
        for method in ("/a.B/C", "/a.B/D")
        for question in (b"", b"x")
        for credential in ("Bearer one", "Bearer two")
    ]
    for _ in range(2):
        for method, question, credential in questions:
            ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = bare.unary_unary(method)
            answer = await ask(question, metadata=(("authorization", credential),))
            assert answer == b"|".join((method.encode(), credential.encode(), question))
    assert len(asked) == len(questions)
