"""Owns the HTTP connections to LiveKit: pooled, bounded in time and size, without redirects or proxies.

Step before: `service.livekit_retry` has a message. Step after: `service.http_connection`, one of them.

A full HTTP client costs as much as all the rest of a call, so this is none: one address, one kind of request.
"""

import asyncio
import secrets
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

import aiohappyeyeballs
import structlog

from service.errors import LiveKitAnswerTooLarge, LiveKitFailed, LiveKitTimedOut, LiveKitUnavailable
from service.http_connection import (
    AnswerBroken,
    AnswerForeign,
    HttpAnswer,
    HttpConnection,
    NoAnswer,
    mark_of,
)
from service.livekit import TwirpAnswer
from service.upstream_http import TRACEPARENT, AnswerEncoded, AnswerTooLarge, Trust, trusting

MOST_CONNECTIONS: Final = 64
IDLE_CONNECTION_SECONDS: Final = 30

_NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long one of a host's addresses is tried alone before the next is tried too (RFC 8305)."""

# A room's record says whose it is, and names that were not asked for are dropped. Participants say nothing.
_TELLS_OF_ITSELF: Final = "ListRooms"

_log = structlog.get_logger(__name__)


class HttpTransport:
    """Twirp over HTTP/1.1.

    Where answers do not bear their requests' marks (a proxy takes them away), what says nothing of whose it
    is comes over a connection of its own, on which nothing else can have been left behind.

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
        self._connecting = 0
        self._process = secrets.token_hex(8)
        self._asked = 0
        self._warned = False

    async def post(self, method: str, token: str, body: bytes) -> TwirpAnswer:
        """Carries one call; see `service.livekit.TwirpTransport`."""
        self._asked += 1
        mark = mark_of(self._asked, self._process)
        request = self._request(method, token, mark, body)
        try:
            async with asyncio.timeout(self._timeout), self._places:
                connection = self._take_idle(method) or await self._connect(method)
                answer = await self._exchange(method, connection, request, mark.encode("ascii"))
        except TimeoutError as error:
            raise LiveKitTimedOut(f"{method}: no answer within {self._timeout} s") from error
        if not (answer.marked or self._warned) and answer.status == HTTPStatus.OK:
            self._warned = True
            _log.warning(
                "livekit's answers do not repeat the header Origin (does a proxy take it away?): "
                "each question for participants takes a connection of its own"
            )
        return TwirpAnswer(answer.status, answer.media_type, answer.body, answer.date)

    def close(self) -> None:
        """Ends all connections."""
        if self._clearing is not None:
            self._clearing.cancel()
        for connection in self._open:
            connection.close()

    def _request(self, method: str, token: str, mark: str, body: bytes) -> bytes:
        traceparent = TRACEPARENT.get(None)
        traced = f"traceparent: {traceparent}\r\n" if traceparent else ""
        head = (
            f"POST {self._path}{method} HTTP/1.1\r\n{self._head}Origin: {mark}\r\n{traced}"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body

    async def _exchange(
        self, method: str, connection: HttpConnection, request: bytes, mark: bytes
    ) -> HttpAnswer:
        try:
            return await connection.exchange(request, mark)
        except NoAnswer as error:
            raise LiveKitUnavailable(f"{method}: the connection ended without an answer") from error
        except AnswerForeign as error:
            _log.warning("livekit, or a proxy before it, gave the answer to another question", method=method)
            raise LiveKitUnavailable(f"{method}: the answer was to another question") from error
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
            if connection.usable and (connection.marks or method == _TELLS_OF_ITSELF):
                self._keep(connection)
            else:
                self._end(connection)

    def _take_idle(self, method: str) -> HttpConnection | None:
        """A connection that was checked as they are checked now, and on which nothing was left behind."""
        while self._idle:
            connection, _ = self._idle[-1]
            if connection.quiet and self._open[connection] is self._trust.context:
                if not connection.marks and method != _TELLS_OF_ITSELF:
                    return None
                self._idle.pop()
                return connection
            self._idle.pop()
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
        if self._idle and len(self._open) + self._connecting >= MOST_CONNECTIONS:
            self._end(self._idle.pop(0)[0])
        self._connecting += 1
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
        finally:
            self._connecting -= 1
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
