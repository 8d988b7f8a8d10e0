"""Owns who may wait while the identity provider's keys are fetched: few calls, shared by their clients.

Anyone can invent tokens with keys that do not exist, each under a name of its own, and a fetch may hang for
seconds. Such calls must not take the places of all others in this process.

Step before: `service.auth.key_set` does not know the key of a token. Step after: `common.fair_share` counts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from common.fair_share import FairShare
from service.errors import Overloaded
from service.places import Limit

MOST_WAITING: Final = 256
"""Calls at a time, at most, that wait for keys."""

_SHARE: Final = 4


class ClientNeeded(Exception):
    """The call would have to wait, and from where it comes is not known yet."""


class KeyTurns:
    """Says who may wait.

    Args:
        most_calls: how many calls this process has under way at most, of which those that wait are a part.
        refused: told of each call that is refused here.
    """

    def __init__(
        self, most_calls: int = _SHARE * MOST_WAITING, refused: Callable[[Limit], None] = lambda _: None
    ) -> None:
        self._waiting: FairShare[str] = FairShare(max(2, min(MOST_WAITING, most_calls // _SHARE)))
        self._refused = refused

    @contextmanager
    def wait(self, client: str | None) -> Iterator[None]:
        """Around one call's wait.

        Args:
            client: from where it comes; None where that is not known.

        Raises:
            ClientNeeded: it is not known.
            Overloaded: too many wait, of this client or of all.
        """
        if client is None:
            raise ClientNeeded
        if not self._waiting.enter(client):
            self._refused(Limit.UNKNOWN_KEYS)
            raise Overloaded.by(Limit.UNKNOWN_KEYS.value)
        try:
            yield
        finally:
            self._waiting.leave(client)
