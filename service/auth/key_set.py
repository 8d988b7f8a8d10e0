"""Owns where the identity provider's keys come from: fetched, kept and renewed, or given with the settings.

Step before: `service.auth.identity_provider` looks for the key of a token. Step after: the provider's HTTP
server, whose document `service.auth.jwks` reads.

What was fetched last stays in use until something usable takes its place: a provider that is down, or that
answers with garbage, takes no caller's access away, unless that lasts for longer than the operator allows.
"""

import asyncio
import contextvars
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

import aiohttp
import jwt
import structlog

from service.auth.jwks import MAX_BYTES, Keys, KeySetUnusable, parse_keys
from service.auth.key_turns import KeyTurns
from service.errors import AuthServiceUnavailable
from service.upstream_http import AnswerEncoded, AnswerTooLarge, Trust, open_session, read_whole, within

FETCH_SECONDS: Final = 5
"""The deadline of one fetch, from connecting to the last byte."""
REFRESH_SECONDS: Final = 300
"""How old the keys get before they are fetched again: a key that is withdrawn works on for that long."""
RETRY_SECONDS: Final = 30
"""How soon that is tried again when it failed."""
SECONDS_BETWEEN_DEMANDS: Final = 5
"""At most one fetch in this time is owed to tokens with unknown keys, however many of them come."""

_log = structlog.get_logger(__name__)


class FetchedKeySet:
    """Keys that are fetched at start, again when they are old, and when a token names one that is unknown.

    Args:
        fetch: reads the document; whatever it raises means that there is none now.
        algorithms: those that are allowed.
        max_stale: seconds after which keys that could not be fetched again are not used any more.
        clock: seconds that only go forward.
        pause: waits for so many seconds.
        on_fetch: told of each fetch whether it gave usable keys.
        turns: says who may wait for one.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        algorithms: Sequence[str],
        max_stale: float,
        clock: Callable[[], float] = monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        on_fetch: Callable[[bool], None] = lambda _: None,
        turns: KeyTurns | None = None,
    ) -> None:
        self._fetch = fetch
        self._algorithms = algorithms
        self._max_stale = max_stale
        self._clock = clock
        self._pause = pause
        self._on_fetch = on_fetch
        self._turns = turns or KeyTurns()
        self._fetched: Keys | None = None
        self._fetched_at = -math.inf
        self._fetching: asyncio.Task[bool] | None = None
        self._demanded = -math.inf

    async def find(self, kid: str | None, algorithm: str, client: str | None) -> Sequence[jwt.PyJWK]:
        """The keys that fit, after a look at the provider's newest ones if those at hand do not.

        Args:
            kid: the key's id, if one is named.
            algorithm: the key's.
            client: from where the call comes that needs it; None where that is not known yet.

        Raises:
            AuthServiceUnavailable: the keys were never fetched, or too long ago, and cannot be now.
            ClientNeeded, Overloaded: a fetch has to be waited for, and as `KeyTurns` says.
        """
        keys = self._keys_in_use()
        if keys is not None and (found := keys.find(kid, algorithm)):
            return found
        await self._demand(client)
        keys = self._keys_in_use()
        if keys is None:
            raise AuthServiceUnavailable("the identity provider's keys could not be fetched, or not lately")
        return keys.find(kid, algorithm)

    async def keep_fresh(self) -> None:
        """Fetches now and from time to time, without an end."""
        while True:
            fetched = await asyncio.shield(self._refresh())
            await self._pause(REFRESH_SECONDS if fetched else RETRY_SECONDS)

    async def close(self) -> None:
        """Ends a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _keys_in_use(self) -> Keys | None:
        """The keys that were fetched last, unless they are too old."""
        return self._fetched if self._clock() - self._fetched_at <= self._max_stale else None

    async def _demand(self, client: str | None) -> None:
        """Waits for a fetch, if one is under way or may be made."""
        fetching = self._fetching is not None and not self._fetching.done()
        if not fetching and self._clock() - self._demanded < SECONDS_BETWEEN_DEMANDS:
            return
        with self._turns.wait(client):
            if not fetching:
                self._demanded = self._clock()
            # Callers that leave do not end the fetch: impatient ones could keep the keys from ever coming.
            await asyncio.shield(self._refresh())

    def _refresh(self) -> "asyncio.Task[bool]":
        """The fetch that is under way, or a new one; all who want one share it."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._fetch_keys(), context=contextvars.Context())
        return self._fetching

    async def _fetch_keys(self) -> bool:
        began = self._clock()
        try:
            self._fetched = parse_keys(await self._fetch(), self._algorithms)
        except Exception as error:  # noqa: BLE001 (whatever it is, the old keys stay, and it is tried again)
            _log.warning(
                "the identity provider's keys could not be fetched",
                # Any other text may quote the address, with a key in it, or the provider's words.
                problem=str(error) if isinstance(error, KeySetUnusable) else type(error).__name__,
                old_keys_stay=self._keys_in_use() is not None,
            )
            self._on_fetch(False)
            return False
        self._fetched_at = began
        self._on_fetch(True)
        return True


class GivenKeySet:
    """Keys that stay as they are, for as long as the settings that they came with.

    Args:
        keys: the keys.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def find(self, kid: str | None, algorithm: str, client: str | None) -> Sequence[jwt.PyJWK]:
        """The keys that fit."""
        return self._keys.find(kid, algorithm)


@asynccontextmanager
async def open_key_set(
    url: str,
    trust: Trust,
    algorithms: Sequence[str],
    max_stale: float,
    on_fetch: Callable[[bool], None] = lambda _: None,
    *,
    turns: KeyTurns | None = None,
) -> AsyncIterator[FetchedKeySet]:
    """The keys at this address, kept fresh until the context ends. Does not wait for them.

    Args:
        url: of the key set, http or https.
        trust: how the server's certificate is checked, if the address is https.
        algorithms: those that are allowed.
        max_stale: seconds after which keys that could not be fetched again are not used any more.
        on_fetch: told of each fetch whether it gave usable keys.
        turns: says who may wait for one.
    """
    keys = FetchedKeySet(
        lambda: fetch(url, trust.context), algorithms, max_stale, on_fetch=on_fetch, turns=turns
    )
    keeping_fresh = asyncio.create_task(keys.keep_fresh(), context=contextvars.Context())
    try:
        yield keys
    finally:
        keeping_fresh.cancel()
        await asyncio.wait([keeping_fresh])
        await keys.close()


async def fetch(url: str, trusted: ssl.SSLContext | bool = True, seconds: float = FETCH_SECONDS) -> bytes:
    """The document at this address.

    Each fetch has a connection of its own: they are rare, and other trust counts at once that way.

    Args:
        url: http or https.
        trusted: checks the server's certificate; True for the system's authorities.
        seconds: the deadline.

    Raises:
        KeySetUnusable: the answer is not 200, or encoded, or over the size limit.
        aiohttp.ClientError, OSError: it could not be reached, or not be trusted, or broke off.
        TimeoutError: it took too long.
    """
    async with (
        open_session(aiohttp.TCPConnector(ssl=trusted)) as session,
        session.get(
            url,
            headers={"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"},
            timeout=within(seconds),
            allow_redirects=False,
        ) as answer,
    ):
        if answer.status != 200:
            raise KeySetUnusable(f"the answer is {answer.status}")
        try:
            return await read_whole(answer, MAX_BYTES)
        except AnswerEncoded as error:
            raise KeySetUnusable("the answer is encoded, which was not asked for") from error
        except AnswerTooLarge as error:
            raise KeySetUnusable(f"the answer is over {MAX_BYTES} bytes") from error
