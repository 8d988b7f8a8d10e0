"""Owns the edge's calls by relay: the same calls, answers and errors as unary ones, many on one stream.

Before it: `edge.rooms`, which knows it as a `RoomsClient`. After it: `connection` for a stream, and `stream`.
Where the service has no relay, or a call does not fit into a frame, it is made as a unary call.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import grpc
from google.protobuf.message import Message

from edge.relay.connection import Connection, Watch
from edge.relay.stream import FRAME_BYTES, Exchange, Question, StreamOverError
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.v1.tenant_rooms_pb2 import (
    GetRoomRequest,
    GetRoomResponse,
    ListRoomsRequest,
    ListRoomsResponse,
)
from tenantrooms_client import LARGEST_PAGE
from tenantrooms_client.errors import DeadlineExceeded, Unavailable

MOST_CALLS: Final = 1_024
"""Calls under way at a time; further ones wait. The service reads no more from one stream."""

_TRIES: Final = 2
"""How often a call may go out. Both rpcs only read, so a call may be made anew when its stream has broken."""

Metadata = Sequence[tuple[str, str | bytes]]


class UnaryClient(Protocol):
    """What makes the calls that do not go by relay."""

    async def list_rooms_page(
        self, *, page_size: int, page_token: str, token: str | None, timeout: float | None, metadata: Metadata
    ) -> ListRoomsResponse:
        """One page of the caller's rooms; raises TenantRoomsError."""
        ...

    async def get_room(
        self, room_name: str, *, token: str | None, timeout: float | None, metadata: Metadata
    ) -> GetRoomResponse:
        """One room with its participants; raises TenantRoomsError."""
        ...


@asynccontextmanager
async def open_relay(
    start: Callable[[], Exchange], unary: UnaryClient, watch: Watch | None = None
) -> "AsyncIterator[RelayClient]":
    """A client that keeps a stream open until the context ends.

    Args:
        start: starts an exchange with the service.
        unary: makes the calls that cannot go by relay; whoever opened it closes it.
        watch: is told how it goes with streams.
    """
    async with Connection(start, watch=watch) as connection:
        yield RelayClient(connection, unary)


class RelayClient:
    """Calls the service by relay; see `open_relay`."""

    def __init__(self, connection: Connection, unary: UnaryClient) -> None:
        self._connection = connection
        self._unary = unary
        self._places = asyncio.Semaphore(MOST_CALLS)

    def renew(self) -> None:
        """Changes over to a new stream, for when another channel is in use from now on. No call is lost."""
        self._connection.renew()

    async def list_rooms_page(
        self, page_token: str, *, token: str | None, deadline: float, metadata: Metadata
    ) -> bytes:
        """One of the largest pages of the caller's rooms, encoded; raises TenantRoomsError."""

        def unary(seconds: float) -> Awaitable[Message]:
            return self._unary.list_rooms_page(
                page_size=LARGEST_PAGE,
                page_token=page_token,
                token=token,
                timeout=seconds,
                metadata=metadata,
            )

        request = ListRoomsRequest(page_size=LARGEST_PAGE, page_token=page_token).SerializeToString()
        question = _question(relay_pb2.METHOD_LIST_ROOMS, request, token, metadata)
        return await self._ask(question, deadline, unary)

    async def get_room(
        self, room_name: str, *, token: str | None, deadline: float, metadata: Metadata
    ) -> bytes:
        """One room with its participants, encoded; raises TenantRoomsError."""

        def unary(seconds: float) -> Awaitable[Message]:
            return self._unary.get_room(room_name, token=token, timeout=seconds, metadata=metadata)

        request = GetRoomRequest(room_name=room_name).SerializeToString()
        question = _question(relay_pb2.METHOD_GET_ROOM, request, token, metadata)
        return await self._ask(question, deadline, unary)

    async def _ask(
        self, question: Question, deadline: float, unary: Callable[[float], Awaitable[Message]]
    ) -> bytes:
        if question.size <= FRAME_BYTES and (raw := await self._relayed(question, deadline)) is not None:
            return raw
        response = await unary(max(0.0, deadline - asyncio.get_running_loop().time()))
        return response.SerializeToString()

    async def _relayed(self, question: Question, deadline: float) -> bytes | None:
        """The encoded response; None where there is no relay."""
        await self._take_place(deadline)
        try:
            for_more = _TRIES
            while for_more:
                stream = await self._connection.stream(deadline)
                if stream is None:
                    return None
                try:
                    return await stream.ask(question, deadline)
                except StreamOverError as over:
                    for_more -= over.sent
        finally:
            self._places.release()
        raise Unavailable(grpc.StatusCode.UNAVAILABLE, None, "The stream to the service has broken")

    async def _take_place(self, deadline: float) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
        except TimeoutError:
            raise DeadlineExceeded(grpc.StatusCode.DEADLINE_EXCEEDED, None, "Deadline Exceeded") from None


def _question(
    method: relay_pb2.Method.ValueType, request: bytes, token: str | None, metadata: Metadata
) -> Question:
    pairs = [(key, value if isinstance(value, bytes) else value.encode("ascii")) for key, value in metadata]
    if token is not None:
        pairs.append(("authorization", b"Bearer " + token.encode("ascii")))
    return Question(method, request, pairs)
