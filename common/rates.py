"""Owns how often somebody may call: counted here, or in a Redis that several processes share.

Step before: the service asks for each call of a caller that it knows, `edge.admission` for each request
without a credential. There is no step after.

Counting must never stop the calls: while Redis does not answer, each process counts by itself.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Final

import structlog
from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

REDIS_SECONDS: Final = 0.25
"""What one question to Redis may take."""

MOST_COUNTS: Final = 65_536
"""Counts in memory at a time, some 25 MiB. A caller has up to two for each rate."""

REDIS_PAUSE_SECONDS: Final = 1.0
"""For how long Redis is not asked after it did not answer."""

_REDIS_CONNECTIONS: Final = 32
_LOOKED_AT: Final = 2

_log = structlog.get_logger(__name__)


class Counts(MemoryStorage):
    """Counts in memory.

    The library's own storage looks through all of its keys in a task for every call. This one looks at two
    for each new one, and forgets what is over: so no call waits for that, and little that is over is kept.

    Args:
        most: so many counts are kept. For more, some that have stood for long make room, as if those callers
            had not called.
    """

    STORAGE_SCHEME = None  # type: ignore[assignment]  # not to be found by a URI, in place of the library's own

    def __init__(self, most: int = MOST_COUNTS) -> None:
        super().__init__()
        self._most = most
        self.expirations: OrderedDict[str, float] = OrderedDict()

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Adds to the count of this key, which is forgotten after `expiry` seconds."""
        now = time.time()
        if self.expirations.get(key, 0) <= now:
            self._forget_some(now)
            self.storage[key] = 0
            self.expirations[key] = now + expiry
        self.storage[key] += amount
        return self.storage[key]

    async def decr(self, key: str, amount: int = 1) -> int:
        """Takes from the count of this key."""
        if key in self.storage:  # else it has been forgotten meanwhile
            self.storage[key] = max(self.storage[key] - amount, 0)
        return self.storage[key]

    def _forget_some(self, now: float) -> None:
        for _ in range(_LOOKED_AT):
            if not self.expirations:
                return
            key = next(iter(self.expirations))
            if self.expirations[key] <= now or len(self.expirations) >= self._most:
                del self.expirations[key]
                self.storage.pop(key, None)
            else:
                self.expirations.move_to_end(key)


class Rates:
    """Counts calls by who makes them.

    Args:
        rates: each holds.
        redis: where to count; None is here.
        setting: names the setting that says which Redis it is, for the log.
        asked: told of each question to Redis whether it was answered.
        clock: seconds, from any start.
    """

    def __init__(
        self,
        rates: Sequence[RateLimitItem],
        redis: RedisStorage | None = None,
        setting: str = "",
        asked: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates = rates
        self._here = SlidingWindowCounterRateLimiter(Counts())
        self._redis = None if redis is None else SlidingWindowCounterRateLimiter(redis)
        self._setting = setting
        self._asked = asked
        self._clock = clock
        self._ask_from = 0.0

    async def take(self, who: str) -> int | None:
        """Counts a call of this one. Seconds to wait if it is one too many."""
        # Of one length and one alphabet, and no list of callers for who reads Redis.
        key = sha256(who.encode()).hexdigest()
        if self._redis is None or self._clock() < self._ask_from:
            return await self._take(self._here, key)
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                seconds = await self._take(self._redis, key)
        except Exception as error:  # noqa: BLE001 (whatever it is, callers are not to suffer from it)
            self._asked(False)
            if self._clock() >= self._ask_from:
                self._ask_from = self._clock() + REDIS_PAUSE_SECONDS
                _log.error(
                    "rate_store_silent",
                    problem=f"each process counts by itself; see to the Redis of {self._setting}",
                    error=type(error).__name__,
                )
            return await self._take(self._here, key)
        self._asked(True)
        return seconds

    async def _take(self, limiter: SlidingWindowCounterRateLimiter, key: str) -> int | None:
        for rate in self._rates:
            if not await limiter.hit(rate, key):
                resets = (await limiter.get_window_stats(rate, key)).reset_time
                return min(max(1, math.ceil(resets - time.time())), rate.get_expiry())
        return None


@asynccontextmanager
async def open_rates(
    rates: Sequence[RateLimitItem],
    redis_url: str | None,
    setting: str,
    asked: Callable[[bool], None] = lambda _: None,
) -> AsyncIterator[Rates | None]:
    """Counts until the context ends; None where there is no rate.

    Args:
        rates: each holds; none is no limit.
        redis_url: `redis://` or `rediss://`; None counts in this process alone.
        setting: names the setting that says so, for the log.
        asked: told of each question to Redis whether it was answered.
    """
    if not rates:
        yield None
        return
    if redis_url is None:
        yield Rates(rates)
        return
    pool = BlockingConnectionPool.from_url(
        redis_url,
        max_connections=_REDIS_CONNECTIONS,
        timeout=REDIS_SECONDS,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="tenantrooms",
            connection_pool=pool,  # type: ignore[arg-type]  # its types lack what its documentation names
        )
        yield Rates(rates, storage, setting, asked)
    finally:
        await pool.aclose()
