"""Calls an ASGI application with raw bytes: nothing is normalized on the way, unlike in HTTP clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from edge.asgi import Edge


@dataclass(frozen=True)
class Reply:
    """One whole answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) < 2, f"{name} came {len(found)} times"
        return found[0] if found else None


class Exchange:
    """The server's side of one request, played step by step; the end of a stuck body never comes."""

    def __init__(
        self,
        target: bytes,
        *,
        method: str = "GET",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: Sequence[bytes] = (),
        body_is_stuck: bool = False,
        tells_the_end: bool = True,
    ) -> None:
        path, _, query = target.partition(b"?")
        announced = [(b"transfer-encoding", b"chunked")] if body else []
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            # As granian gives it: decoded, and with nothing else of the raw path left.
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", b"edge.test"), *headers, *announced],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        self.sent: list[dict[str, Any]] = []
        self._unread = list(body) or [b""]
        self._body_is_stuck = body_is_stuck
        self._tells_the_end = tells_the_end
        self._over = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if self._unread:
            part = self._unread.pop(0)
            return {
                "type": "http.request",
                "body": part,
                "more_body": bool(self._unread) or self._body_is_stuck,
            }
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        ended = message["type"] == "http.response.body" and not message["more_body"]
        if ended and self._tells_the_end:
            self._over.set()

    def hang_up(self) -> None:
        self._unread.clear()
        self._over.set()

    @property
    def body_was_read(self) -> bool:
        return not self._unread

    @property
    def reply(self) -> Reply:
        start, *bodies = self.sent
        assert start["type"] == "http.response.start"
        return Reply(
            start["status"],
            tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]),
            b"".join(message["body"] for message in bodies),
        )


async def run(app: Edge, exchange: Exchange) -> None:
    await app(exchange.scope, exchange.receive, exchange.send)  # type: ignore[arg-type]  # plain dicts


async def ask(
    app: Edge,
    target: bytes,
    *,
    method: str = "GET",
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: Sequence[bytes] = (),
) -> Reply:
    """One request and its whole answer."""
    exchange = Exchange(target, method=method, headers=headers, body=body)
    await run(app, exchange)
    return exchange.reply


@asynccontextmanager
async def started(app: Edge) -> AsyncIterator[Edge]:
    """The application between the start and the end of its lifespan."""
    incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outgoing: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan"}, incoming.get, outgoing.put))  # type: ignore[arg-type]
    await incoming.put({"type": "lifespan.startup"})
    assert await outgoing.get() == {"type": "lifespan.startup.complete"}
    try:
        yield app
    finally:
        await incoming.put({"type": "lifespan.shutdown"})
        assert await outgoing.get() == {"type": "lifespan.shutdown.complete"}
        await task
