"""Owns the HTTP connections to LiveKit: pooled, bounded in time and size, without redirects or proxies.

Step before: `service.livekit` has a message to send. Step after: `service.http_connection`, one of them.

A full HTTP client costs as much as all the rest of a call, so this is none: one address, one kind of request.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote, urlsplit

import aiohappyeyeballs

from service.errors import LiveKitAnswerTooLarge, LiveKitFailed, LiveKitTimedOut, LiveKitUnavailable
from service.http_connection import AnswerBroken, HttpAnswer, HttpConnection, NoAnswer
from service.livekit import TwirpAnswer
from service.upstream_http import TRACEPARENT, AnswerEncoded, AnswerTooLarge, Trust, trusting

MOST_CONNECTIONS: Final = 64
IDLE_CONNECTION_SECONDS: Final = 30

_NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long one of a host's addresses is tried alone before the next is tried too (RFC 8305)."""


class HttpTransport:
    """Twirp over HTTP/1.1.

    Args:
        base_url: LiveKit's address, http or https, without a trailing slash.
        timeout: seconds for one call, from waiting for a connection to the last byte.
        max_response_bytes: an answer over this is a failure and is not read to its end.
        trust: how LiveKit's certificate is checked, if the address is https.
    """

    def __init__(self, base_url: str, timeout: float, max_response_bytes: int, trust: Trust) -> None:
        parts = urlsplit(base_url)
        self._tls = parts.scheme == "https"
        self._host = (parts.hostname or "").encode("idna").decode("ascii")
        self._port = parts.port or (443 if self._tls else 80)
        self._path = quote(parts.path, safe="/%:@!$&'()*+,;=~") + "/twirp/livekit.RoomService/"
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._head = (
            f"Host: {host}{f':{parts.port}' if parts.port else ''}\r\n"
            "Content-Type: application/protobuf\r\n"
            "Accept-Encoding: identity\r\n"
            "User-Agent: tenantrooms\r\n"
        )
        self._timeout = timeout
        self._max_response_bytes = max_response_bytes
        self._trust = trust
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)
        self._open: dict[HttpConnection, ssl.SSLContext] = {}
        # Those without a call, and since when; the last one that was used comes last, and is used next.
        self._idle: list[tuple[HttpConnection, float]] = []
        self._clearing: asyncio.TimerHandle | None = None

    async def post(self, method: str, token: str, body: bytes) -> TwirpAnswer:
        """Carries one call; see `service.livekit.TwirpTransport`."""
        try:
            async with asyncio.timeout(self._timeout), self._places:
                connection = self._take_idle() or await self._connect(method)
                answer = await self._exchange(method, connection, self._request(method, token, body))
        except TimeoutError as error:
            raise LiveKitTimedOut(f"{method}: no answer within {self._timeout} s") from error
        return TwirpAnswer(*answer)

    def close(self) -> None:
        """Ends all connections."""
        if self._clearing is not None:
            self._clearing.cancel()
        for connection in self._open:
            connection.close()

    def _request(self, method: str, token: str, body: bytes) -> bytes:
        traceparent = TRACEPARENT.get(None)
        traced = f"traceparent: {traceparent}\r\n" if traceparent else ""
        head = (
            f"POST {self._path}{method} HTTP/1.1\r\n{self._head}{traced}"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body

    async def _exchange(self, method: str, connection: HttpConnection, request: bytes) -> HttpAnswer:
        try:
            return await connection.exchange(request)
        except NoAnswer as error:
            raise LiveKitUnavailable(f"{method}: the connection ended without an answer") from error
        except AnswerBroken as error:
            raise LiveKitFailed(f"{method}: no whole answer: {error}") from error
        except AnswerEncoded as error:
            raise LiveKitFailed(f"{method}: the answer is encoded, which was not asked for") from error
        except AnswerTooLarge as error:
            raise LiveKitAnswerTooLarge(
                f"{method}: the answer is over {self._max_response_bytes} bytes; lower LiveKit's own limit "
                "on room metadata (limit.max_metadata_size), or raise TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES"
            ) from error
        finally:
            if connection.usable:
                self._keep(connection)
            else:
                del self._open[connection]

    def _take_idle(self) -> HttpConnection | None:
        """A connection that was checked as connections are checked now."""
        while self._idle:
            connection, _ = self._idle.pop()
            if connection.usable and self._open[connection] is self._trust.context:
                return connection
            self._end(connection)
        return None

    def _keep(self, connection: HttpConnection) -> None:
        loop = asyncio.get_running_loop()
        self._idle.append((connection, loop.time()))
        if self._clearing is None:
            self._clearing = loop.call_later(IDLE_CONNECTION_SECONDS, self._clear)

    def _clear(self) -> None:
        """Ends what nobody has needed for long, or what has ended by itself."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_CONNECTION_SECONDS
        kept = [(one, since) for one, since in self._idle if one.usable and since > oldest]
        for connection in {one for one, _ in self._idle} - {one for one, _ in kept}:
            self._end(connection)
        self._idle = kept
        self._clearing = loop.call_later(IDLE_CONNECTION_SECONDS, self._clear) if kept else None

    def _end(self, connection: HttpConnection) -> None:
        connection.close()
        del self._open[connection]

    async def _connect(self, method: str) -> HttpConnection:
        loop = asyncio.get_running_loop()
        context = self._trust.context
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            plain = await aiohappyeyeballs.start_connection(
                found, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, interleave=1
            )
            _, connection = await loop.create_connection(
                lambda: HttpConnection(self._max_response_bytes),
                sock=plain,
                ssl=context if self._tls else None,
                server_hostname=self._host if self._tls else None,
            )
        except OSError as error:  # among them that its certificate is not good
            if isinstance(error, TimeoutError):
                raise
            raise LiveKitUnavailable(f"{method}: no connection: {type(error).__name__}: {error}") from error
        self._open[connection] = context
        return connection


@asynccontextmanager
async def open_transport(
    base_url: str, timeout: float, max_response_bytes: int, trust: Trust | None = None
) -> AsyncIterator[HttpTransport]:
    """A transport with a connection pool of its own, which closes with it.

    Without a `trust` the system's authorities are trusted.
    """
    transport = HttpTransport(base_url, timeout, max_response_bytes, trust or Trust(trusting(None)))
    try:
        yield transport
    finally:
        transport.close()
