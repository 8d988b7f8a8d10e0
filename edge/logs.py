"""Owns the edge's log on stderr: one JSON object a line, or something to read where a person watches.

What libraries log through `logging` goes the same way in the same form. Of an exception that a library logs,
only its kind and where it happened are kept: its text, and the values in the message, may hold anything that
was sent or configured. (gRPC quotes a credential that is not UTF-8.)

Before it: `__main__`, and `worker` in each worker process.
"""

import asyncio
import json
import logging
import sys
import time
from contextlib import suppress
from enum import StrEnum
from traceback import extract_tb
from typing import Any, Final, TextIO

import msgspec
import structlog
from granian.log import LogLevels as GranianLevel
from structlog.typing import EventDict, Processor

_FRAMES_SHOWN: Final = 8
_encode: Final = msgspec.json.Encoder().encode

GRANIAN_LOGGING: Final[dict[str, Any]] = {
    "loggers": {name: {"handlers": [], "propagate": True} for name in ("_granian", "granian.access")}
}
"""Takes from granian the handlers of its own, so that its records come here."""


class LogLevel(StrEnum):
    """The least severe records that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def configure_logs(level: LogLevel) -> None:
    """Sets this process's log up; may be called again."""
    person = sys.stderr.isatty()
    number = logging.getLevelNamesMapping()[level.upper()]
    common: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Texts of others stand in records: a terminal must not take part of one for a command.
    written: list[Processor] = (
        [_escaped, structlog.dev.ConsoleRenderer(repr_native_str=True)]
        if person
        else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*common, *written],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, structlog.stdlib.add_logger_name, _only_where],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *written],
        )
    )
    logging.basicConfig(level=number, handlers=[handler], force=True)
    logging.captureWarnings(True)


def quick_writer(level: LogLevel, loop: asyncio.AbstractEventLoop) -> "QuickWriter | None":
    """What writes simple records of ours for a fraction of what structlog takes; None where a person watches.

    Records wait for the end of the loop's turn and leave together, in one write.
    """
    if sys.stderr.isatty():
        return None
    return QuickWriter(level, loop, sys.stderr)


class QuickWriter:
    """Writes records as JSON, a line each, in the form of the others.

    Args:
        level: of the least severe that are written.
        loop: whose turns it writes in.
        to: where.
    """

    def __init__(self, level: LogLevel, loop: asyncio.AbstractEventLoop, to: TextIO) -> None:
        numbers = logging.getLevelNamesMapping()
        self._written = {
            each.value for each in LogLevel if numbers[each.upper()] >= numbers[level.value.upper()]
        }
        self._loop = loop
        self._to = to
        self._lines: list[str] = []
        self._second = 0
        self._until_second = ""

    def __call__(self, level: str, record: dict[str, object]) -> None:
        """Writes this record, which has an `event`."""
        if level not in self._written:
            return
        if not self._lines:
            self._loop.call_soon(self.flush)
        record["level"] = level
        record["timestamp"] = self._now()
        line = _encode(record)
        # The rest of Unicode has characters that a terminal would not just show.
        self._lines.append(line.decode() if line.isascii() else json.dumps(record))

    def flush(self) -> None:
        """Writes what waits."""
        lines, self._lines = self._lines, []
        if lines:
            lines.append("")
            with suppress(OSError, ValueError):  # nobody reads any more
                self._to.write("\n".join(lines))
                self._to.flush()

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._until_second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._until_second}.{int((now - second) * 1_000_000):06d}Z"


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
        **_kind_and_place(error),
    )


def _only_where(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The exception's kind and the last places that it passed, in place of its text."""
    _, error, _ = event.pop("exc_info", None) or (None, None, None)
    if error is None:
        return event
    return {**event, "event": _without_values(event), **_kind_and_place(error)}


def _kind_and_place(error: BaseException) -> dict[str, Any]:
    frames = extract_tb(error.__traceback__)[-_FRAMES_SHOWN:]
    return {
        "error": type(error).__qualname__,
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _without_values(event: EventDict) -> str:
    """The library's own words; asyncio quotes the exception in a line below them."""
    return str(event["_record"].msg).partition("\n")[0]


def _escaped(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event["event"] = repr(str(event["event"]))[1:-1]
    return event
