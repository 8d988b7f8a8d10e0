"""Owns the two room routes: asks the service on behalf of one caller and gives its answer as JSON.

Before it: `routes`, with the `Call` that `asgi` has made. After it: `relay`; the answer goes
through `kept_json` or `errors`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import grpc
from google.protobuf.message import DecodeError

from common.edge_metadata import CLIENT_ADDRESS_KEY, FORWARDED_HEADERS_KEY
from edge import errors
from edge.call import Call
from edge.credentials import Kind
from edge.errors import Answer, Route
from edge.forwarding import forwarded_headers
from edge.kept_json import RoomsJson
from edge.room_json import list_json
from tenantrooms_client import TenantRoomsError
from tenantrooms_client.errors import Internal

Metadata = Sequence[tuple[str, str | bytes]]

_UNREADABLE: Final = Internal(grpc.StatusCode.INTERNAL, None, "The answer could not be decoded")


class RoomsClient(Protocol):
    """What the edge needs of a client of the service: its answers as the bytes that they came in."""

    async def list_rooms_page(
        self, page_token: str, *, token: str | None, deadline: float, metadata: Metadata
    ) -> bytes:
        """An encoded `ListRoomsResponse`: one page of the caller's rooms, as large as pages are.

        Args:
            page_token: of the page before; empty for the first.
            token: the caller's credential.
            deadline: when the call's time is up, by the event loop's clock.
            metadata: further metadata of the call.

        Raises:
            TenantRoomsError: the call failed.
        """
        ...

    async def get_room(
        self, room_name: str, *, token: str | None, deadline: float, metadata: Metadata
    ) -> bytes:
        """An encoded `GetRoomResponse`: one room with its participants; otherwise as `list_rooms_page`."""
        ...


class Rooms:
    """The room routes.

    Args:
        client: calls the service; it has no credential of its own.
        timeout: seconds that one request may take, all pages of a list included.
        forward_headers: whether the service is told the request's headers.
        over_rate: is told of each token that the service refuses for so many seconds, whatever is asked.
    """

    def __init__(
        self,
        client: RoomsClient,
        timeout: float,
        *,
        forward_headers: bool = True,
        over_rate: Callable[[str, int], None] = lambda _token, _seconds: None,
    ) -> None:
        self._client = client
        self._timeout = timeout
        self._forward_headers = forward_headers
        self._over_rate = over_rate
        self._json = RoomsJson()

    async def list_rooms(self, call: Call) -> Answer:
        """All rooms that the caller may see, or the error."""
        return await self._answer(Route.LIST, call, self._all_rooms)

    async def room_details(self, call: Call) -> Answer:
        """One room with its participants, or the error. The name is checked by the service alone."""
        return await self._answer(Route.DETAILS, call, self._one_room)

    async def _all_rooms(self, call: Call) -> bytes:
        deadline, metadata = self._deadline(), self._metadata(call)
        pieces: list[bytes] = []
        page_token = ""
        while True:
            page = await self._client.list_rooms_page(
                page_token, token=call.credential.token, deadline=deadline, metadata=metadata
            )
            piece, page_token = await self._json.of_page(page)
            pieces.append(piece)
            if not page_token:
                return list_json(pieces)

    async def _one_room(self, call: Call) -> bytes:
        response = await self._client.get_room(
            call.room_name,
            token=call.credential.token,
            deadline=self._deadline(),
            metadata=self._metadata(call),
        )
        return await self._json.of_details(response)

    async def _answer(self, route: Route, call: Call, ask: Callable[[Call], Awaitable[bytes]]) -> Answer:
        if call.credential.kind is Kind.REFUSED:
            call.seen.reason = errors.CREDENTIAL_UNUSABLE.reason
            return errors.CREDENTIAL_UNUSABLE
        try:
            body = await ask(call)
        except TenantRoomsError as failure:
            token, seconds = call.credential.token, failure.retry_seconds
            if failure.holds_for_credential and token is not None and seconds is not None:
                self._over_rate(token, seconds)
            return _answer_to(failure, route, call)
        except DecodeError:
            return _answer_to(_UNREADABLE, route, call)
        call.seen.code = "OK"
        return Answer(200, body)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout

    def _metadata(self, call: Call) -> Metadata:
        metadata: list[tuple[str, str | bytes]] = [("x-request-id", call.request_id)]
        if call.credential.kind is Kind.UNUSABLE:
            # A scheme without a token: something was presented, which the service may have to refuse.
            metadata.append(("authorization", "Bearer"))
        elif call.credential.kind is Kind.TOKEN:
            if self._forward_headers:
                metadata.append((FORWARDED_HEADERS_KEY, forwarded_headers(call.headers)))
            if call.address:
                metadata.append((CLIENT_ADDRESS_KEY, call.address))
        if call.seen.traceparent is not None:
            metadata.append(("traceparent", call.seen.traceparent))
        return metadata


def _answer_to(failure: TenantRoomsError, route: Route, call: Call) -> Answer:
    call.seen.code, call.seen.reason = failure.code.name, failure.reason
    return errors.answer_to_failure(route, failure.code, failure.reason, failure.retry_seconds)
