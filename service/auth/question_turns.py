"""Owns who may ask the auth service next: tenants it has named lately, and apart from them everybody else.

Anyone can invent tokens without end, and each costs a question that may take the auth service seconds. So the
tokens that it accepted lately have places of their own, which nobody can take with tokens that it did not.
All others share few places: one client's newcomers wait behind each other, and clients have their turns one
by one, so that a good token which is new to this process gets through a flood of bad ones too.

Step before: `service.auth.auth_service` has a question to ask. Step after: `service.places` counts.
"""

import hmac
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Final

from common.fair_share import FairShare
from service.auth.principal import Principal
from service.auth.question import Question
from service.auth.verdict_cache import Grants
from service.errors import Overloaded
from service.places import FairQueue, Limit

MOST_KNOWN_QUESTIONS: Final = 64
"""Questions at a time about tokens that were accepted lately."""

MOST_NEW_QUESTIONS: Final = 32
"""Questions at a time about all other tokens."""

MOST_NEW_CALLS: Final = 256
"""Calls at a time, at most, that wait for the verdict on such a token."""

KNOWN_SECONDS: Final = 900.0
"""How long after a good verdict a token is known."""

MOST_KNOWN: Final = 10_000
"""So many tokens are known; whoever has the most of them makes room."""

_NEW_CALLS_SHARE: Final = 4


class KnownTokens:
    """The tokens that the auth service accepted lately, and whose they were.

    That is no verdict: the auth service is asked about a known token like about any other. No token is kept,
    only digests under a random key of this process.

    Args:
        seconds: for how long after it was accepted.
        most: so many at most.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        seconds: float = KNOWN_SECONDS,
        most: int = MOST_KNOWN,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._key = secrets.token_bytes(32)
        self._grants = Grants(most, seconds, clock)

    def owner(self, token: str) -> Principal | None:
        """Who the auth service said it was; None where it is not known."""
        return self._grants.get(self._digest(token))

    def accepted(self, token: str, principal: Principal) -> None:
        """From now on it is known."""
        self._grants.put_if_aging(self._digest(token), principal)

    def rejected(self, token: str) -> None:
        """From now on it is not."""
        self._grants.forget(self._digest(token))

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode(), "sha256")


class QuestionTurns:
    """Gives turns for questions to the auth service.

    Args:
        most_calls: how many calls this process has under way at most, of which the new ones may have a part.
        refused: told of each call that is refused here.
        known: the tokens that are known.
    """

    def __init__(
        self,
        most_calls: int = _NEW_CALLS_SHARE * MOST_NEW_CALLS,
        refused: Callable[[Limit], None] = lambda _: None,
        known: KnownTokens | None = None,
    ) -> None:
        self._refused = refused
        self._known = known or KnownTokens()
        self._known_questions: FairQueue[Principal | str] = FairQueue(MOST_KNOWN_QUESTIONS)
        self._new_questions: FairQueue[Principal | str] = FairQueue(MOST_NEW_QUESTIONS)
        most_new = max(2, min(MOST_NEW_CALLS, most_calls // _NEW_CALLS_SHARE))
        self._new_calls: FairShare[str] = FairShare(most_new)

    @contextmanager
    def wait(self, question: Question) -> Iterator[None]:
        """Around a call's wait for the verdict, which others may share.

        Raises:
            Overloaded: the token is not known, and too many calls with such tokens wait, of this client or
                of all.
        """
        known = self._known.owner(question.token) is not None
        if not known and not self._new_calls.enter(question.client):
            self._refused(Limit.NEW_TOKENS)
            raise Overloaded.by(Limit.NEW_TOKENS.value)
        try:
            yield
        except Overloaded:
            self._refused(Limit.TENANT_CALLS if known else Limit.NEW_TOKENS)
            raise
        finally:
            if not known:
                self._new_calls.leave(question.client)

    @asynccontextmanager
    async def turn(self, question: Question, seconds: float) -> AsyncIterator[None]:
        """Around one question.

        Args:
            question: what is asked.
            seconds: how long it may wait for its turn.

        Raises:
            Overloaded: that took too long.
        """
        owner = self._known.owner(question.token)
        queue, who = (
            (self._new_questions, question.client) if owner is None else (self._known_questions, owner)
        )
        if not queue.enter(who):
            try:
                await queue.wait(who, seconds)
            except TimeoutError:
                limit = Limit.NEW_TOKENS if owner is None else Limit.TENANT_CALLS
                raise Overloaded.by(limit.value) from None
        try:
            yield
        finally:
            queue.leave(who)

    def decided(self, question: Question, principal: Principal | None) -> None:
        """The auth service has accepted the token, as this one's, or rejected it (None)."""
        if principal is None:
            self._known.rejected(question.token)
        else:
            self._known.accepted(question.token, principal)
