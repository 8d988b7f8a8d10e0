"""Calls over the edge's relay: a client on a fake service, what to ask it, and what came."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edge.relay.client import RelayClient, open_relay
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms_client import LARGEST_PAGE
from tenantrooms_client.channel import open_channel
from tests.edge.fake_client import GetCall, ListCall
from tests.edge.fake_relay import exchanges


class FakeUnary:
    """What makes the calls that do not go by relay."""

    def __init__(self) -> None:
        self.calls: list[ListCall | GetCall] = []
        self.pages: list[pb.ListRoomsResponse] = []

    @property
    def names(self) -> list[str]:
        return [call.room_name for call in self.calls if isinstance(call, GetCall)]

    async def list_rooms_page(
        self, *, page_size: int, page_token: str, token: str | None, timeout: float | None, metadata: Any
    ) -> pb.ListRoomsResponse:
        assert page_size == LARGEST_PAGE
        assert timeout is not None
        self.calls.append(ListCall(token, timeout, dict(metadata)))
        return self.pages[int(page_token or 0)]

    async def get_room(
        self, room_name: str, *, token: str | None, timeout: float | None, metadata: Any
    ) -> pb.GetRoomResponse:
        assert timeout is not None
        self.calls.append(GetCall(room_name, token, timeout, dict(metadata)))
        return response(room_name)


@asynccontextmanager
async def opened(address: str, unary: FakeUnary) -> AsyncIterator[RelayClient]:
    async with (
        open_channel(address, None, None) as channel,
        open_relay(exchanges(channel), unary) as client,
    ):
        yield client


def asking(
    client: RelayClient, name: str, token: str | None = None, timeout: float = 10.0, metadata: Any = ()
) -> "asyncio.Task[pb.GetRoomResponse]":
    deadline = asyncio.get_running_loop().time() + timeout

    async def ask() -> pb.GetRoomResponse:
        answer = await client.get_room(name, token=token, deadline=deadline, metadata=metadata)
        return pb.GetRoomResponse.FromString(answer)

    return asyncio.create_task(ask())


def response(name: str) -> pb.GetRoomResponse:
    return pb.GetRoomResponse(room=pb.Room(name=name))


def asked_for(call: relay_pb2.Call) -> str:
    assert call.method == relay_pb2.METHOD_GET_ROOM
    return pb.GetRoomRequest.FromString(call.request).room_name


# --- calls and answers ------------------------------------------------------------------------------------


def listing(
    client: RelayClient,
    page_token: str = "",
    token: str | None = None,
    timeout: float = 10.0,
    metadata: Any = (),
) -> "asyncio.Task[pb.ListRoomsResponse]":
    deadline = asyncio.get_running_loop().time() + timeout

    async def ask() -> pb.ListRoomsResponse:
        answer = await client.list_rooms_page(page_token, token=token, deadline=deadline, metadata=metadata)
        return pb.ListRoomsResponse.FromString(answer)

    return asyncio.create_task(ask())


def page(*names: str, following: str = "") -> pb.ListRoomsResponse:
    return pb.ListRoomsResponse(
        rooms=[pb.RoomSummary(name=name) for name in names], next_page_token=following
    )
