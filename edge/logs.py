"""Owns the edge's log on stderr: one JSON object a line, or something to read where a person watches."""

import sys
from traceback import extract_tb

import structlog


def configure_logs() -> None:
    """Sets structlog up for this process."""
    person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if person else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def log_unexpected(error: Exception, request_id: str) -> None:
    """Records an error that nobody foresaw: its kind and where it happened.

    Not its text, which may hold anything that a caller has sent.
    """
    structlog.get_logger(__name__).error(
        "unexpected_error",
        request_id=request_id,
        error=type(error).__qualname__,
        at=[
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)[-8:]
        ],
    )
