"""How the end-to-end tests call: over REST with nothing normalized on the way, and over gRPC."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

from tenantrooms_client import TenantRoomsClient, TenantRoomsError
from tools.stack import Stack

ACME, GLOBEX, OPERATOR = "acme-secret-1", "globex-secret-1", "on-call-secret-1"


@dataclass(frozen=True)
class RestAnswer:
    """One HTTP answer, its headers in the order and spelling in which they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name]
        assert len(found) < 2, f"{name} came twice"
        return found[0] if found else None


class Callers:
    """Callers of one running stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.grpc = TenantRoomsClient(stack.grpc_address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.grpc.close()

    async def rest(
        self, path: str, token: str | None = None, *headers: tuple[str, str], method: str = "GET"
    ) -> RestAnswer:
        """Sends the path exactly as it is, over a connection of its own."""
        address = urlsplit(self.stack.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        lines += [f"{name}: {value}" for name, value in headers]
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            raw = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
        head, _, body = raw.partition(b"\r\n\r\n")
        status_line, *fields = head.decode("latin-1").split("\r\n")
        pairs = tuple((name, value.strip()) for name, _, value in (field.partition(":") for field in fields))
        return RestAnswer(int(status_line.split()[1]), pairs, body)

    async def rest_room(self, name: str, token: str | None = None) -> RestAnswer:
        """One room over REST, its name encoded as the existing clients encode it."""
        return await self.rest(f"/livekit/rooms/{quote(name, safe='')}", token)

    async def rest_names(self, token: str | None = None) -> list[str]:
        """The names of all rooms that REST lists."""
        answer = await self.rest("/livekit/rooms", token)
        assert answer.status == 200, answer
        return [room["name"] for room in answer.json["rooms"]]

    async def grpc_names(self, token: str | None = None, tenant_id: str | None = None) -> list[str]:
        """The names of all rooms that gRPC lists."""
        return [room.name async for room in self.grpc.list_rooms(token=token, tenant_id=tenant_id)]

    async def grpc_reason(self, name: str, token: str | None = None, tenant_id: str | None = None) -> str:
        """`ok`, or the reason for which gRPC did not give this room."""
        try:
            answer = await self.grpc.get_room(name, token=token, tenant_id=tenant_id)
        except TenantRoomsError as error:
            return str(error.reason)
        assert answer.room.name == name
        return "ok"
