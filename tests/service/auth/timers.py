"""Timers that end when a test says so; without that, never."""

import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field

from service.auth.refusal_log import INTERVAL_SECONDS


@dataclass(eq=False)
class Timer:
    """One call to come."""

    end: Callable[[], None]
    waiting: "set[Timer]"

    def cancel(self) -> None:
        self.waiting.discard(self)


@dataclass
class Timers:
    """Stands in for the `call_later` of an event loop."""

    waiting: set[Timer] = field(default_factory=set)

    def __call__(
        self, delay: float, callback: Callable[[str], None], reason: str, *, context: contextvars.Context
    ) -> Timer:
        assert delay == INTERVAL_SECONDS
        timer = Timer(lambda: context.run(callback, reason), self.waiting)
        self.waiting.add(timer)
        return timer

    def end(self) -> None:
        for timer in list(self.waiting):
            self.waiting.discard(timer)
            timer.end()
