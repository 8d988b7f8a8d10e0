"""Owns the log's record of each call: its level by how the call ended, and how many are written in a flood.

Step before: `service.call_watch`. Step after: `common.quick_log` writes, `common.logs` what is a fault.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import structlog

from common.floods import LEFT_OUT, Floods
from common.quick_log import WriteRecord, write_slowly
from service.errors import DomainError, RoomNotFound
from service.failure_record import failure_record

ANSWERED: Final = "rpc answered"
"""The event of a call that went well."""

_OWN_RPCS: Final = "/tenantrooms.v1."
_FAULTS: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "FAILED_PRECONDITION"})
"""What is somebody's to look into; the rest is the caller's own affair."""

_WARNINGS: Final = frozenset({"RESOURCE_EXHAUSTED"})

_log = structlog.get_logger(__name__)


class CallLog:
    """Writes a record for each call that ended.

    Args:
        quick: writes the records of calls that did not fail by any fault; `structlog` does if None.
        clock: rises by 1 a second.
    """

    def __init__(self, quick: WriteRecord | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._quick = quick or write_slowly
        self._floods = Floods(clock, self._left_out)

    def write(
        self, code: str, reason: str, record: dict[str, object], error: BaseException | None = None
    ) -> None:
        """Writes this record, unless there are too many like it.

        Args:
            code: of the call's gRPC status.
            reason: the name of its `ErrorReason`, or empty.
            record: all else that is known of the call, and an `event`. It is changed.
            error: why it failed. What it says is written, if it is an error of ours.
        """
        if code == "OK":
            # Probes are not worth a line.
            if str(record["rpc"]).startswith(_OWN_RPCS):
                self._quick("info", record)
            return
        caller = record.get("tenant") or record.get("operator")
        if not self._floods.let_through((code, reason), record, caller):
            return
        if code not in _FAULTS or not reason:
            level = "warning" if code in _WARNINGS else "info"
            record["event"] = "rpc refused" if reason else "rpc ended"
            if detail := _why_refused(error):
                record["detail"] = detail
            self._quick(level, record)
            return
        told = {} if error is None else failure_record(error, foreseen=isinstance(error, DomainError))
        _log.error(**{**record, "event": "rpc failed"}, **told)

    def close(self) -> None:
        """Writes how many records were left out, of what has not been told yet."""
        self._floods.close()

    def _left_out(self, kind: Any, count: int) -> None:
        code, reason = kind
        record: dict[str, object] = {"event": LEFT_OUT, "code": code, "not_logged": count}
        self._quick("info", {**record, "reason": reason} if reason else record)


def _why_refused(error: BaseException | None) -> str:
    """What the log tells of a refusal beyond its reason; empty where that is all.

    Nothing of a masked answer: records, too, are alike for every room that is not the caller's. Who reads
    them may be no operator of TenantRooms, and what takes longer to write takes longer to answer.
    """
    if not isinstance(error, DomainError) or isinstance(error, RoomNotFound):
        return ""
    return str(error)
