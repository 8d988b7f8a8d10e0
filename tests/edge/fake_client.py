"""A client of the service that records its calls and answers as it is told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms_client import TenantRoomsError

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True)
class ListCall:
    token: str | None
    timeout: float
    metadata: dict[str, str | bytes]


@dataclass(frozen=True)
class GetCall:
    room_name: str
    token: str | None
    timeout: float
    metadata: dict[str, str | bytes]


@dataclass
class FakeClient:
    """Answers lists with all `pages`, and any name with a room of that name.

    A list fails or hangs after so many pages as `pages_before_it` says.
    """

    pages: list[pb.ListRoomsResponse] = field(default_factory=lambda: [pb.ListRoomsResponse()])
    pages_before_it: int = 0
    failure: Exception | None = None
    hang: bool = False
    calls: list[ListCall | GetCall] = field(default_factory=list)
    is_open: bool = False
    called: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_open = False

    async def list_rooms_page(
        self, page_token: str, *, token: str | None, deadline: float, metadata: Metadata
    ) -> bytes:
        number = int(page_token or 0)
        if number == self.pages_before_it:
            await self._serve(ListCall(token, _seconds_to(deadline), dict(metadata)))
        page = pb.ListRoomsResponse()
        page.CopyFrom(self.pages[number])
        page.next_page_token = str(number + 1) if number + 1 < len(self.pages) else ""
        return page.SerializeToString()

    async def get_room(
        self, room_name: str, *, token: str | None, deadline: float, metadata: Metadata
    ) -> bytes:
        await self._serve(GetCall(room_name, token, _seconds_to(deadline), dict(metadata)))
        return pb.GetRoomResponse(room=pb.Room(name=room_name, sid="RM_1")).SerializeToString()

    @property
    def names(self) -> list[str]:
        """The room names asked for."""
        return [call.room_name for call in self.calls if isinstance(call, GetCall)]

    async def _serve(self, call: ListCall | GetCall) -> None:
        assert self.is_open
        await asyncio.sleep(0)  # a real call always waits
        self.calls.append(call)
        self.called.set()
        if self.hang:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if self.failure is not None:
            raise self.failure


def _seconds_to(deadline: float) -> float:
    return deadline - asyncio.get_running_loop().time()


def failure(code: grpc.StatusCode, reason: str | None = None) -> TenantRoomsError:
    return TenantRoomsError(code, reason, "text of the service, for no caller's eyes")
