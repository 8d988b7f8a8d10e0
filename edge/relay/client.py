"""Owns the edge's calls by relay: the same calls, answers and errors as unary ones, many on one stream.

Before it: `edge.rooms`, which knows it as a `RoomsClient`. After it: `connection` for a stream, and `stream`.
Where the service has no relay, or a call does not fit into a frame, it is made as a unary call.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from edge.relay.connection import Connection
from edge.relay.stream import FRAME_BYTES, Exchange, Question, StreamOverError
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.v1.tenant_rooms_pb2 import (
    GetRoomRequest,
    GetRoomResponse,
    ListRoomsRequest,
    ListRoomsResponse,
)
from tenantrooms_client import LARGEST_PAGE
from tenantrooms_client.errors import DeadlineExceeded, Internal, Unavailable

MOST_CALLS: Final = 1_024
"""Calls under way at a time; further ones wait. The service reads no more from one stream."""

_TRIES: Final = 2
"""How often a call may go out. Both rpcs only read, so a call may be made anew when its stream has broken."""

Metadata = Sequence[tuple[str, str | bytes]]
Response = TypeVar("Response", bound=Message)


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
    start: Callable[[], Exchange], unary: UnaryClient, timeout: float
) -> "AsyncIterator[RelayClient]":
    """A client that keeps a stream open until the context ends.

    Args:
        start: starts an exchange with the service.
        unary: makes the calls that cannot go by relay; whoever opened it closes it.
        timeout: seconds that a call may take if it does not say.
    """
    async with Connection(start) as connection:
        yield RelayClient(connection, unary, timeout)


class RelayClient:
    """Calls the service by relay; see `open_relay`."""

    def __init__(self, connection: Connection, unary: UnaryClient, timeout: float) -> None:
        self._connection = connection
        self._unary = unary
        self._timeout = timeout
        self._places = asyncio.Semaphore(MOST_CALLS)

    def renew(self) -> None:
        """Changes over to a new stream, for when another channel is in use from now on. No call is lost."""
        self._connection.renew()

    async def list_rooms_pages(
        self, *, token: str | None, timeout: float | None, metadata: Metadata
    ) -> AsyncGenerator[ListRoomsResponse, None]:
        """The caller's rooms on the largest pages, within one timeout; raises TenantRoomsError."""
        deadline = self._deadline(timeout)
        page_token = ""
        while True:
            page = await self._page(page_token, token, deadline, metadata)
            yield page
            page_token = page.next_page_token
            if not page_token:
                return

    async def get_room(
        self, room_name: str, *, token: str | None, timeout: float | None, metadata: Metadata
    ) -> GetRoomResponse:
        """One room with its participants; raises TenantRoomsError."""

        def unary(seconds: float) -> Awaitable[GetRoomResponse]:
            return self._unary.get_room(room_name, token=token, timeout=seconds, metadata=metadata)

        request = GetRoomRequest(room_name=room_name)
        question = _question(relay_pb2.METHOD_GET_ROOM, request, token, metadata)
        return await self._ask(question, GetRoomResponse, self._deadline(timeout), unary)

    async def _page(
        self, page_token: str, token: str | None, deadline: float, metadata: Metadata
    ) -> ListRoomsResponse:
        def unary(seconds: float) -> Awaitable[ListRoomsResponse]:
            return self._unary.list_rooms_page(
                page_size=LARGEST_PAGE,
                page_token=page_token,
                token=token,
                timeout=seconds,
                metadata=metadata,
            )

        request = ListRoomsRequest(page_size=LARGEST_PAGE, page_token=page_token)
        question = _question(relay_pb2.METHOD_LIST_ROOMS, request, token, metadata)
        return await self._ask(question, ListRoomsResponse, deadline, unary)

    def _deadline(self, timeout: float | None) -> float:
        return asyncio.get_running_loop().time() + (self._timeout if timeout is None else timeout)

    async def _ask(
        self,
        question: Question,
        response: type[Response],
        deadline: float,
        unary: Callable[[float], Awaitable[Response]],
    ) -> Response:
        raw = await self._relayed(question, deadline) if question.size <= FRAME_BYTES else None
        if raw is None:
            return await unary(max(0.0, deadline - asyncio.get_running_loop().time()))
        try:
            return response.FromString(raw)
        except DecodeError:
            text = "The answer could not be decoded"
            raise Internal(grpc.StatusCode.INTERNAL, None, text) from None

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
    method: relay_pb2.Method.ValueType, request: Message, token: str | None, metadata: Metadata
) -> Question:
    pairs = [(key, value if isinstance(value, bytes) else value.encode("ascii")) for key, value in metadata]
    if token is not None:
        pairs.append(("authorization", b"Bearer " + token.encode("ascii")))
    return Question(method, request.SerializeToString(), pairs)
