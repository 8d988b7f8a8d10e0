"""Owns what is the edge's own in its log: granian's part in it, and errors that nobody foresaw.

Before it: `__main__` and `asgi`. After it: `common.logs` writes.
"""

from typing import Any, Final

import structlog
from granian.log import LogLevels as GranianLevel

from common.logs import LogLevel, kind_and_place

GRANIAN_LOGGING: Final[dict[str, Any]] = {
    "loggers": {name: {"handlers": [], "propagate": True} for name in ("_granian", "granian.access")}
}
"""Takes from granian the handlers of its own, so that its records come here."""


def granian_level(level: LogLevel) -> GranianLevel:
    """How much granian says: that it starts and stops is the edge's own to say."""
    return GranianLevel(LogLevel.WARNING if level is LogLevel.INFO else level)


def log_unexpected(error: Exception, request_id: str) -> None:
    """Records an error that nobody foresaw: its kind and where it happened.

    Not its text, which may hold anything that a caller has sent.
    """
    structlog.get_logger(__name__).error(
        "unexpected_error",
        request_id=request_id,
        **kind_and_place(error),
    )
