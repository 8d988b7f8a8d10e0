"""Owns a process's log on stderr: one JSON object a line, or something to read where a person watches.

What libraries log through `logging` goes the same way in the same form. Of an exception that a library logs,
only its kind and where it happened are kept: its text, and the values in the message, may hold anything that
was sent or configured. (gRPC quotes a credential that is not UTF-8.)

Step before: `service.__main__`, `edge.__main__` and `edge.worker`, at start. There is no step after.
"""

import logging
import sys
from enum import StrEnum
from traceback import extract_tb
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

_FRAMES_SHOWN: Final = 8


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
        processors=[*common, structlog.processors.format_exc_info, *written],
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


def kind_and_place(error: BaseException) -> dict[str, Any]:
    """What can be told of an error that nobody foresaw, whose text may hold anything that was sent.

    Returns:
        `error`, its kind, and `at`, the last places that it passed: `file:line function`.
    """
    frames = extract_tb(error.__traceback__)[-_FRAMES_SHOWN:]
    return {
        "error": type(error).__qualname__,
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _only_where(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The exception's kind and the last places that it passed, in place of its text."""
    _, error, _ = event.pop("exc_info", None) or (None, None, None)
    if error is not None:
        event["event"] = _without_values(event)
        event.update(kind_and_place(error))
    return event


def _without_values(event: EventDict) -> str:
    """The library's own words; asyncio quotes the exception in a line below them."""
    return str(event["_record"].msg).partition("\n")[0]


def _escaped(_logger: Any, _method: str, event: EventDict) -> EventDict:
    event["event"] = repr(str(event["event"]))[1:-1]
    if "exception" in event:
        event["exception"] = "".join(f"    {repr(line)[1:-1]}\n" for line in event["exception"].split("\n"))
    return event
