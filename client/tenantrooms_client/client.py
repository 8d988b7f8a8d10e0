"""Owns the calls: credential, deadline and paging around the generated stub."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Final, Self

import grpc

from tenantrooms.v1 import tenant_rooms_pb2, tenant_rooms_pb2_grpc
from tenantrooms_client.channel import open_channel
from tenantrooms_client.errors import error_from

Metadata = Sequence[tuple[str, str | bytes]]

LARGEST_PAGE: Final = 50_000
"""The most rooms that the service puts into one page."""


class TenantRoomsClient:
    """Calls TenantRooms on behalf of one caller, or of one caller per call.

    Open it inside a running event loop, best with `async with`; one client serves any number of
    concurrent calls. Every call may override the token and the timeout, and add metadata of its own.

    Args:
        target: `host:port` or `unix:path` of the service.
        token: the credential, sent as `authorization: Bearer <token>`; None sends none.
        timeout: seconds that a call may take in all, retries and all pages of a walk included.
        credentials: transport security (`grpc.ssl_channel_credentials(…)`, with a key and a certificate of
            one's own for mutual TLS); None is plain text.
        server_name: whom the service's certificate has to name, where that is not the host in `target`.

    Raises:
        ValueError: there is a server name but no credentials.
    """

    def __init__(
        self,
        target: str,
        *,
        token: str | None = None,
        timeout: float = 10.0,
        credentials: grpc.ChannelCredentials | None = None,
        server_name: str | None = None,
    ) -> None:
        if server_name is not None and credentials is None:
            raise ValueError("in plain text nobody's name is checked")
        self._token = token
        self._timeout = timeout
        self._channel = open_channel(target, credentials, server_name)
        self._stub = tenant_rooms_pb2_grpc.TenantRoomsStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel; calls under way get `grace` seconds to finish, none by default."""
        await self._channel.close(grace)

    async def list_rooms_page(
        self,
        *,
        tenant_id: str | None = None,
        page_size: int = 0,
        page_token: str = "",
        consistency: tenant_rooms_pb2.Consistency.ValueType = tenant_rooms_pb2.CONSISTENCY_UNSPECIFIED,
        token: str | None = None,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> tenant_rooms_pb2.ListRoomsResponse:
        """One page of the caller's rooms, sorted by name, with the token of the next page.

        Args:
            tenant_id: the tenant to act for; None is the caller's own view.
            page_size: the most rooms in the page; 0 is the service's default of 1,000.
            page_token: where to go on; empty for the first page.
            consistency: how old the reading may be that the answer rests on.
            token: the credential of this call, in place of the client's.
            timeout: seconds for this call, in place of the client's.
            metadata: further pairs to send.

        Raises:
            TenantRoomsError: the call failed; its subclass and `reason` say how.
            ValueError: the token cannot be sent.
        """
        request = tenant_rooms_pb2.ListRoomsRequest(
            tenant_id=tenant_id, page_size=page_size, page_token=page_token, consistency=consistency
        )
        try:
            return await self._stub.ListRooms(
                request, timeout=self._seconds(timeout), metadata=self._metadata(token, metadata)
            )
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure) from None

    async def list_rooms_pages(
        self,
        *,
        tenant_id: str | None = None,
        page_size: int = LARGEST_PAGE,
        consistency: tenant_rooms_pb2.Consistency.ValueType = tenant_rooms_pb2.CONSISTENCY_UNSPECIFIED,
        token: str | None = None,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> AsyncGenerator[tenant_rooms_pb2.ListRoomsResponse, None]:
        """All pages of the caller's rooms, in order; one is asked for when it is wanted.

        Arguments and errors are those of `list_rooms_page`; `timeout` spans the whole walk.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds(timeout)
        page_token = ""
        while True:
            page = await self.list_rooms_page(
                tenant_id=tenant_id,
                page_size=page_size,
                page_token=page_token,
                consistency=consistency,
                token=token,
                timeout=deadline - loop.time(),  # below 0 it fails at once; 0 would be rounded up
                metadata=metadata,
            )
            yield page
            page_token = page.next_page_token
            if not page_token:
                return

    async def list_rooms(
        self,
        *,
        tenant_id: str | None = None,
        page_size: int = LARGEST_PAGE,
        consistency: tenant_rooms_pb2.Consistency.ValueType = tenant_rooms_pb2.CONSISTENCY_UNSPECIFIED,
        token: str | None = None,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> AsyncIterator[tenant_rooms_pb2.RoomSummary]:
        """All of the caller's rooms, sorted by name, however many pages that takes.

        Arguments and errors are those of `list_rooms_pages`.
        """
        walk = self.list_rooms_pages(
            tenant_id=tenant_id,
            page_size=page_size,
            consistency=consistency,
            token=token,
            timeout=timeout,
            metadata=metadata,
        )
        async with aclosing(walk) as pages:
            async for page in pages:
                for room in page.rooms:
                    yield room

    async def get_room(
        self,
        room_name: str,
        *,
        tenant_id: str | None = None,
        token: str | None = None,
        timeout: float | None = None,
        metadata: Metadata = (),
    ) -> tenant_rooms_pb2.GetRoomResponse:
        """One room with its participants.

        Args:
            room_name: the name exactly as LiveKit holds it.
            tenant_id: the tenant to act for; None is the caller's own view.
            token: the credential of this call, in place of the client's.
            timeout: seconds for this call, in place of the client's.
            metadata: further pairs to send.

        Raises:
            NotFound: no such room for this caller.
            TenantRoomsError: the call failed otherwise.
            ValueError: the token cannot be sent.
        """
        request = tenant_rooms_pb2.GetRoomRequest(tenant_id=tenant_id, room_name=room_name)
        try:
            return await self._stub.GetRoom(
                request, timeout=self._seconds(timeout), metadata=self._metadata(token, metadata)
            )
        except grpc.aio.AioRpcError as failure:
            raise error_from(failure) from None

    def _seconds(self, timeout: float | None) -> float:
        return self._timeout if timeout is None else timeout

    def _metadata(self, token: str | None, metadata: Metadata) -> Metadata:
        token = self._token if token is None else token
        if token is None:
            return metadata
        if not token.isascii() or not token.isprintable():
            raise ValueError("the token has characters that no header can carry, perhaps a line end")
        return (("authorization", f"Bearer {token}"), *metadata)
