"""Owns where audit records go: a file of their own, or stderr. What is in one is `service.audit`'s to know.

Step before: `service.audit` has a record. There is no step after.

Lines are written by one thread, in their order: a disk that hangs holds up operators, and no tenant.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from threading import Lock
from typing import Final, NoReturn, TextIO

import structlog

from service.start_errors import AuditLogUnusable

WRITE_SECONDS: Final = 5.0
"""How long a caller waits for its record to be written."""
MOST_WAITING: Final = 1_000
"""Records that may wait to be written; beyond that, reads are refused at once."""

Record = Mapping[str, str]

_log = structlog.get_logger(__name__)


class NotRecorded(Exception):
    """A record could not be written, or not in time."""


class AuditLog:
    """Writes records, one line of JSON each.

    Args:
        handler: writes a line, and raises when it cannot.
        on_record: told of each record whether it was written.
        seconds: how long a caller waits for one.
    """

    def __init__(
        self,
        handler: logging.Handler,
        on_record: Callable[[bool], None] = lambda _: None,
        seconds: float = WRITE_SECONDS,
    ) -> None:
        self._handler = handler
        self._on_record = on_record
        self._seconds = seconds
        self._writer = ThreadPoolExecutor(1, "audit-log")
        self._waiting = 0
        self._lock = Lock()

    async def write(self, record: Record) -> None:
        """Writes this record, and returns when the system has it. A caller that leaves does not stop that.

        Raises:
            NotRecorded: it could not be written, or takes too long. One that was not begun by then never
                will be; one that was may still be completed.
        """
        try:
            writing = self._submit(record)
            written = asyncio.wrap_future(writing)
            written.add_done_callback(_seen)
            # Unlike wait_for, this leaves it be when the caller is cancelled.
            await asyncio.wait([written], timeout=self._seconds)
            if not written.done():
                writing.cancel()
                raise TimeoutError(f"not written within {self._seconds} s")
            written.result()
        except (OSError, ValueError) as error:  # among them TimeoutError, and that the file was closed
            raise NotRecorded("an operator's read could not be recorded, so it is refused") from error

    def write_unawaited(self, record: Record) -> None:
        """Writes this record for a caller that has left; only the log and metrics say if that fails."""
        with suppress(OSError):
            self._submit(record)

    def close(self) -> None:
        """Waits until everything is written, and closes the file."""
        self._writer.shutdown()
        self._handler.close()

    def _submit(self, record: Record) -> "Future[None]":
        with self._lock:
            full = self._waiting >= MOST_WAITING
            self._waiting += not full
        if full:
            self._on_record(False)
            raise BlockingIOError("too many records wait to be written")
        writing = self._writer.submit(self._write, json.dumps(record))
        writing.add_done_callback(self._written)
        return writing

    def _write(self, line: str) -> None:
        self._handler.handle(logging.makeLogRecord({"msg": line}))

    def _written(self, writing: "Future[None]") -> None:
        """Called by the writer's thread, or by who gave up waiting for it."""
        with self._lock:
            self._waiting -= 1
        error = None if writing.cancelled() else writing.exception()
        self._on_record(error is None and not writing.cancelled())
        if error is not None:
            _log.error("the audit log could not be written", problem=str(error))


@asynccontextmanager
async def open_audit_log(path: Path | None, on_record: Callable[[bool], None]) -> AsyncIterator[AuditLog]:
    """The audit log in this file, or on stderr, until the context ends.

    Raises:
        AuditLogUnusable: the file cannot be opened.
    """
    try:
        handler = _StderrHandler(sys.stderr) if path is None else _FileHandler(path)
    except OSError as error:
        raise AuditLogUnusable(error.strerror or type(error).__name__) from error
    log = AuditLog(handler, on_record)
    try:
        yield log
    finally:
        await asyncio.to_thread(log.close)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Raises what logging's own handler would only print."""

    def handleError(self, record: logging.LogRecord) -> NoReturn:  # noqa: N802 (named by logging)
        """Raises the error that is being handled."""
        _raise_current()


class _FileHandler(WatchedFileHandler):
    """Appends to a file that only its owner can read, and opens it anew when it was moved away or removed.

    Raises what logging's own handler would only print.
    """

    def _open(self) -> TextIOWrapper:
        file = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(file, "a", encoding="ascii")

    def handleError(self, record: logging.LogRecord) -> NoReturn:  # noqa: N802 (named by logging)
        """Raises the error that is being handled, and drops the file: what it holds back is not to come."""
        stream, self.stream = self.stream, None  # opened again for the next record
        if stream is not None:
            with suppress(OSError):
                stream.close()
        _raise_current()


def _seen(written: "asyncio.Future[None]") -> None:
    """Takes note of how it ended: `AuditLog` tells it, also when nobody waits any more."""
    if not written.cancelled():
        written.exception()


def _raise_current() -> NoReturn:
    error = sys.exception()
    raise error if error is not None else RuntimeError("there is no error")
