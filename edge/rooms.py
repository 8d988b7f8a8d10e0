"""Owns the two room routes: asks the service on behalf of one caller and gives its answer as JSON.

Before it: Litestar with the `Call` that `asgi` has made. After it: `relay`; the answer goes
through `room_json` or `errors`.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, Protocol

import structlog

from edge import errors
from edge.call import Call
from edge.credentials import Kind
from edge.errors import Answer, Route
from edge.forwarding import FORWARDED_HEADERS_KEY, forwarded_headers
from edge.room_json import details_json, list_json, summaries_json
from tenantrooms.v1.tenant_rooms_pb2 import GetRoomResponse, ListRoomsResponse
from tenantrooms_client import TenantRoomsError

_ENCODED_AT_ONCE: Final = 2_000
"""Rooms that are made into JSON before other requests get their turn: some 3 ms."""

_log = structlog.get_logger(__name__)


class RoomsClient(Protocol):
    """What the edge needs of a client of the service."""

    def list_rooms_pages(
        self,
        *,
        token: str | None,
        timeout: float | None,
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> AsyncGenerator[ListRoomsResponse, None]:
        """The caller's rooms on the largest pages, within one timeout; raises TenantRoomsError."""
        ...

    async def get_room(
        self,
        room_name: str,
        *,
        token: str | None,
        timeout: float | None,
        metadata: Sequence[tuple[str, str | bytes]],
    ) -> GetRoomResponse:
        """One room with its participants; raises TenantRoomsError."""
        ...


class Rooms:
    """The room routes.

    Args:
        client: calls the service; it has no credential of its own.
        timeout: seconds that one request may take, all pages of a list included.
        forward_headers: whether the service is told the request's headers.
    """

    def __init__(self, client: RoomsClient, timeout: float, *, forward_headers: bool = True) -> None:
        self._client = client
        self._timeout = timeout
        self._forward_headers = forward_headers

    async def list_rooms(self, call: Call) -> Answer:
        """All rooms that the caller may see, or the error."""
        return await _answer(Route.LIST, call, self._all_rooms)

    async def room_details(self, call: Call) -> Answer:
        """One room with its participants, or the error. The name is checked by the service alone."""
        return await _answer(Route.DETAILS, call, self._one_room)

    async def _all_rooms(self, call: Call) -> bytes:
        walk = self._client.list_rooms_pages(
            token=call.credential.token, timeout=self._timeout, metadata=self._metadata(call)
        )
        pieces: list[bytes] = []
        async with aclosing(walk) as pages:
            async for page in pages:
                for start in range(0, len(page.rooms), _ENCODED_AT_ONCE):
                    if start:
                        await asyncio.sleep(0)
                    pieces.append(summaries_json(page.rooms[start : start + _ENCODED_AT_ONCE]))
        return list_json(pieces)

    async def _one_room(self, call: Call) -> bytes:
        response = await self._client.get_room(
            call.room_name,
            token=call.credential.token,
            timeout=self._timeout,
            metadata=self._metadata(call),
        )
        return details_json(response)

    def _metadata(self, call: Call) -> list[tuple[str, str | bytes]]:
        metadata: list[tuple[str, str | bytes]] = [("x-request-id", call.request_id)]
        if call.credential.kind is Kind.UNUSABLE:
            # A scheme without a token: something was presented, which the service may have to refuse.
            metadata.append(("authorization", "Bearer"))
        elif call.credential.kind is Kind.TOKEN and self._forward_headers:
            metadata.append((FORWARDED_HEADERS_KEY, forwarded_headers(call.headers)))
        return metadata


async def _answer(route: Route, call: Call, ask: Callable[[Call], Awaitable[bytes]]) -> Answer:
    if call.credential.kind is Kind.REFUSED:
        return errors.CREDENTIAL_UNUSABLE
    try:
        return Answer(200, await ask(call))
    except TenantRoomsError as failure:
        return _answer_to(failure, route, call)


def _answer_to(failure: TenantRoomsError, route: Route, call: Call) -> Answer:
    answer = errors.answer_to_failure(route, failure.code, failure.reason)
    if answer.status >= 500:
        _log.warning(
            "call_failed",
            request_id=call.request_id,
            route=route.value,
            status=answer.status,
            code=failure.code.name,
            reason=failure.reason,
        )
    return answer
