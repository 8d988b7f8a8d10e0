"""Owns how this process speaks HTTP to others: without cookies or proxies, bounded in size and time.

Step before: `service.livekit_transport`, `service.auth.auth_service` and `service.auth.key_set` have
something to ask, and each says what a failure means. The next step is whoever is asked.
"""

import math

import aiohttp


class UnusableAnswer(Exception):
    """An answer whose body is not read to its end."""


class AnswerEncoded(UnusableAnswer):
    """Its body is encoded, which was not asked for: a small one can unpack into one without end."""


class AnswerTooLarge(UnusableAnswer):
    """Its body is over the limit."""


def open_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """A session over these connections, which close with it.

    It keeps no cookies, uses no proxy that the environment names, and unpacks nothing.
    """
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
    )


def within(seconds: float) -> aiohttp.ClientTimeout:
    """The time for one call, from connecting to the last byte."""
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
