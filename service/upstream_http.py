"""Owns how this process speaks HTTP to others: without cookies or proxies, bounded in size and time.

Step before: `service.auth.auth_service` and `service.auth.key_set` have something to ask, and each says what
a failure means. The next step is whoever is asked. LiveKit, which is asked all the time, has a leaner way of
its own: `service.livekit_transport`.
"""

import math
import ssl
from contextvars import ContextVar
from typing import Final

import aiohttp

from service.certificates import Certificates

TRACEPARENT: Final[ContextVar[str]] = ContextVar("traceparent")
"""The W3C trace context of the question that is being asked; none where calls are not traced."""


class UnusableAnswer(Exception):
    """An answer whose body is not read to its end."""


class AnswerEncoded(UnusableAnswer):
    """Its body is encoded, which was not asked for: a small one can unpack into one without end."""


class AnswerTooLarge(UnusableAnswer):
    """Its body is over the limit."""


def trusting(ca: Certificates | None) -> ssl.SSLContext:
    """How a server's certificate is checked: always, by these authorities alone, or else by the system's."""
    return ssl.create_default_context(cadata=None if ca is None else ca.pem.decode("ascii"))


class Trust:
    """How the certificates of one server are checked, which can change while the service runs.

    Attributes:
        context: checks every connection that is made from now on. One that another context has checked is
            not used for calls that begin after the change.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context


def open_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """A session over these connections, which close with it.

    It keeps no cookies, uses no proxy that the environment names, and unpacks nothing.
    """
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
    )


def within(seconds: float) -> aiohttp.ClientTimeout:
    """The time for one call, from connecting to the last byte.

    Raises:
        TimeoutError: none is left.
    """
    if seconds <= 0:
        raise TimeoutError  # to aiohttp it would be no limit at all
    # aiohttp rounds timeouts from the threshold on up to whole seconds.
    return aiohttp.ClientTimeout(total=seconds, ceil_threshold=math.inf)


async def read_whole(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """The whole body.

    Raises:
        AnswerEncoded, AnswerTooLarge: see there.
        aiohttp.ClientError, OSError, TimeoutError: it broke off, or took too long.
    """
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise AnswerEncoded
    if (answer.content_length or 0) > most_bytes:
        raise AnswerTooLarge
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > most_bytes:
            raise AnswerTooLarge
        chunks.append(chunk)
    return b"".join(chunks)
