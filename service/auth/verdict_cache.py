"""Owns remembered verdicts of the auth service, where an operator has set a time for it; off by default.

Step before: `service.auth.auth_service` is about to ask. There is no step after.

A remembered verdict is older than the call that gets it: for that time a revoked token still works.
"""

import hmac
import secrets
from collections.abc import Callable
from time import monotonic
from typing import Final

import msgspec
from cachetools import TTLCache

from service.auth.principal import Principal
from service.auth.question import Question

MOST_VERDICTS: Final = 10_000


class Refused:
    """The verdict on a token that was not accepted."""


REFUSED: Final = Refused()


class VerdictCache:
    """Keeps grants and refusals for the same time, the newest few thousand of them.

    The key is everything that a verdict may rest on, as a digest under a random key of this process, so
    that no token stays in memory on this account.

    Args:
        seconds: how long a verdict is kept.
        clock: seconds that only go forward.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._key = secrets.token_bytes(32)
        self._verdicts: TTLCache[bytes, Principal | Refused] = TTLCache(MOST_VERDICTS, seconds, clock)

    def get(self, question: Question) -> Principal | Refused | None:
        """The remembered verdict, or None when there is none."""
        return self._verdicts.get(self._digest(question))

    def put(self, question: Question, verdict: Principal | Refused) -> None:
        """Remembers a verdict from now on."""
        self._verdicts[self._digest(question)] = verdict

    def _digest(self, question: Question) -> bytes:
        return hmac.digest(self._key, msgspec.msgpack.encode(question), "sha256")
