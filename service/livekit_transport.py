"""Owns the HTTP connection to LiveKit: pooled, bounded in time and size, without redirects or proxies.

Step before: `service.livekit` has a message to send. The next step is LiveKit itself.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from service.errors import LiveKitFailed, LiveKitTimedOut, LiveKitUnavailable
from service.livekit import TwirpAnswer
from service.upstream_http import (
    AnswerEncoded,
    AnswerTooLarge,
    Trust,
    open_session,
    read_whole,
    trusting,
    within,
)

MOST_CONNECTIONS: Final = 64
IDLE_CONNECTION_SECONDS: Final = 30


class AiohttpTransport:
    """Twirp over aiohttp.

    Args:
        session: an open session, as `open_transport` makes it.
        base_url: LiveKit's address, http or https, without a trailing slash.
        timeout: seconds for one call, from connecting to the last byte.
        max_response_bytes: an answer over this is a failure and is not read to its end.
        trust: how LiveKit's certificate is checked, if the address is https.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        timeout: float,
        max_response_bytes: int,
        trust: Trust,
    ) -> None:
        self._session = session
        self._service_url = f"{base_url}/twirp/livekit.RoomService/"
        self._timeout = within(timeout)
        self._max_response_bytes = max_response_bytes
        self._trust = trust

    async def post(self, method: str, token: str, body: bytes) -> TwirpAnswer:
        """Carries one call; see `service.livekit.TwirpTransport`."""
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/protobuf",
            "Accept-Encoding": "identity",
        }
        try:
            async with self._session.post(
                self._service_url + method,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                ssl=self._trust.context,
            ) as answer:
                return TwirpAnswer(answer.status, answer.content_type, await self._read(method, answer))
        except TimeoutError as error:
            raise LiveKitTimedOut(f"{method}: no answer within {self._timeout.total} s") from error
        except aiohttp.ClientPayloadError as error:
            raise LiveKitFailed(f"{method}: the answer broke off") from error
        except aiohttp.ClientResponseError as error:
            # Its text quotes what came, which may be our own request with its token.
            raise LiveKitFailed(f"{method}: not an HTTP answer: {type(error).__name__}") from error
        except aiohttp.ClientConnectorError as error:
            raise LiveKitUnavailable(f"{method}: {type(error).__name__}: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            # Connected: from here on a text may quote what came.
            raise LiveKitUnavailable(f"{method}: {type(error).__name__}") from error

    async def _read(self, method: str, answer: aiohttp.ClientResponse) -> bytes:
        try:
            return await read_whole(answer, self._max_response_bytes)
        except AnswerEncoded as error:
            raise LiveKitFailed(f"{method}: the answer is encoded, which was not asked for") from error
        except AnswerTooLarge as error:
            raise LiveKitFailed(
                f"{method}: the answer is over {self._max_response_bytes} bytes; lower LiveKit's own limit "
                "on room metadata (limit.max_metadata_size), or raise TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES"
            ) from error


@asynccontextmanager
async def open_transport(
    base_url: str, timeout: float, max_response_bytes: int, trust: Trust | None = None
) -> AsyncIterator[AiohttpTransport]:
    """A transport with a connection pool of its own, which closes with it.

    Without a `trust` the system's authorities are trusted.
    """
    connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS, keepalive_timeout=IDLE_CONNECTION_SECONDS)
    async with open_session(connector) as session:
        yield AiohttpTransport(session, base_url, timeout, max_response_bytes, trust or Trust(trusting(None)))
