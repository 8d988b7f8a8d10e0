"""Owns how refused tokens are logged: each reason at once, but a flood of them in few lines.

Step before: `service.auth.identity_provider` has refused a token, or the auth service behind
`service.auth.auth_service` has. There is no step after.
"""

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

INTERVAL_SECONDS: Final = 60.0
"""What is refused for a reason that was logged less than this ago is counted."""
MOST_REASONS: Final = 100
"""So many reasons are told apart at a time."""
OTHER_REASONS: Final = "other reasons"

OF_THE_IDENTITY_PROVIDER: Final = (
    "a token of the identity provider was refused",
    "more tokens of the identity provider were refused",
)
BY_THE_AUTH_SERVICE: Final = (
    "a token was refused by the auth service",
    "more tokens were refused by the auth service",
)

_log = structlog.get_logger(__name__)


class Timer(Protocol):
    """What an event loop's `call_later` gives."""

    def cancel(self) -> None:
        """Lets the call not be made."""
        ...


class Later(Protocol):
    """The `call_later` of an event loop."""

    def __call__(
        self, delay: float, callback: Callable[[str], None], reason: str, *, context: contextvars.Context
    ) -> Timer:
        """Calls `callback(reason)` after so many seconds, in this context."""
        ...


@dataclass(slots=True)
class _Counted:
    """The refusals for one reason since it was logged last."""

    until_told: Timer
    count: int = 0


class RefusalLog:
    """Logs the first refusal for a reason at once, and those that follow as a count, once in a while.

    Use it inside a running event loop, and close it in the end.

    Args:
        later: calls a function after so many seconds; None means the running loop's own.
        events: what is logged at once, and with a count.
    """

    def __init__(
        self, later: Later | None = None, events: tuple[str, str] = OF_THE_IDENTITY_PROVIDER
    ) -> None:
        self._at_once, self._counted_event = events
        self._later = later
        self._counted: dict[str, _Counted] = {}

    def refused(self, reason: str) -> None:
        """Tells of one refusal.

        Args:
            reason: one of few constant texts.
        """
        if reason not in self._counted and len(self._counted) >= MOST_REASONS:
            reason = OTHER_REASONS
        if counted := self._counted.get(reason):
            counted.count += 1
            return
        _log.info(self._at_once, problem=reason)
        self._count_for_a_while(reason)

    def close(self) -> None:
        """Logs what was counted so far."""
        for reason in list(self._counted):
            self._tell(reason)

    def _count_for_a_while(self, reason: str) -> None:
        later = self._later or asyncio.get_running_loop().call_later
        # In no caller's context: the line to come is about many of them.
        timer = later(INTERVAL_SECONDS, self._go_on, reason, context=contextvars.Context())
        self._counted[reason] = _Counted(timer)

    def _go_on(self, reason: str) -> None:
        if self._tell(reason):
            self._count_for_a_while(reason)

    def _tell(self, reason: str) -> int:
        counted = self._counted.pop(reason)
        counted.until_told.cancel()
        if counted.count:
            _log.info(self._counted_event, problem=reason, count=counted.count)
        return counted.count
