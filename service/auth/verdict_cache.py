"""Owns remembered verdicts of the auth service, where an operator has set a time for it; off by default.

Step before: `service.auth.auth_service` is about to ask. There is no step after.

A remembered verdict is older than the call that gets it: for that time a revoked token still works.
"""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

import msgspec
from cachetools import TTLCache

from service.auth.principal import Principal
from service.auth.question import Question

MOST_GRANTS: Final = 10_000
MOST_REFUSALS: Final = 10_000


class Refused:
    """The verdict on a token that was not accepted."""


REFUSED: Final = Refused()


class VerdictCache:
    """Keeps grants and refusals for the same time, some thousands of each.

    They are kept apart: anyone can cause refusals without end, and loses nobody's grant by that. Among the
    grants, whoever holds the most makes room: one tenant that asks in ever new ways loses its own.

    The key is everything that a verdict may rest on, as a digest under a random key of this process, so
    that no token stays in memory on this account.

    Args:
        seconds: how long a verdict is kept.
        clock: seconds that only go forward.
        most_grants: so many grants are kept.
        most_refusals: so many refusals are kept, the newest.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = monotonic,
        *,
        most_grants: int = MOST_GRANTS,
        most_refusals: int = MOST_REFUSALS,
    ) -> None:
        self._key = secrets.token_bytes(32)
        self._grants = Grants(most_grants, seconds, clock)
        self._refusals: TTLCache[bytes, Refused] = TTLCache(most_refusals, seconds, clock)

    def get(self, question: Question) -> Principal | Refused | None:
        """The remembered verdict, or None when there is none."""
        digest = self._digest(question)
        return self._grants.get(digest) or self._refusals.get(digest)

    def put(self, question: Question, verdict: Principal | Refused) -> None:
        """Remembers a verdict from now on, in place of an earlier one."""
        digest = self._digest(question)
        if isinstance(verdict, Refused):
            self._grants.forget(digest)
            self._refusals[digest] = verdict
        else:
            self._refusals.pop(digest, None)
            self._grants.put(digest, verdict)

    def _digest(self, question: Question) -> bytes:
        return hmac.digest(self._key, msgspec.msgpack.encode(question.rests_on), "sha256")


class Grants:
    """Who was granted what: each for the same time, and a bounded number of them, fairly shared.

    Args:
        most: so many are kept.
        seconds: for how long each is.
        clock: seconds that only go forward.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        # The oldest first, in both.
        self._grants: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._held: dict[Principal, OrderedDict[bytes, None]] = {}

    def get(self, digest: bytes) -> Principal | None:
        """Who it was granted to, if that was not too long ago."""
        principal, until = self._grants.get(digest, (None, 0.0))
        return principal if self._clock() < until else None

    def put(self, digest: bytes, principal: Principal) -> None:
        """Keeps a grant from now on."""
        self.forget(digest)
        self._forget_expired()
        if len(self._grants) >= self._most:
            self._make_room(self._held.get(principal, OrderedDict()))
        self._grants[digest] = (principal, self._clock() + self._seconds)
        self._held.setdefault(principal, OrderedDict())[digest] = None

    def put_if_aging(self, digest: bytes, principal: Principal) -> None:
        """Keeps a grant from now on, or leaves it for as long as it has most of its time before it."""
        kept, until = self._grants.get(digest, (None, 0.0))
        if kept != principal or until - self._clock() < self._seconds / 2:
            self.put(digest, principal)

    def forget(self, digest: bytes) -> None:
        """Keeps it no longer, if it was kept."""
        principal, _ = self._grants.pop(digest, (None, 0.0))
        if principal is not None:
            held = self._held[principal]
            del held[digest]
            if not held:
                del self._held[principal]

    def _make_room(self, own: OrderedDict[bytes, None]) -> None:
        """Forgets the oldest grant of whoever holds the most; of who needs the room, if nobody holds more."""
        most = max(self._held.values(), key=len)
        self.forget(next(iter(own if len(own) == len(most) else most)))

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._grants:
            digest, (_, until) = next(iter(self._grants.items()))
            if now < until:
                return
            self.forget(digest)
