"""Owns what the log tells of a failure: of one that was foreseen what its text says, of any other only where.

The text of an exception that nobody foresaw may hold anything that was sent or configured.

Step before: `service.error_boundary` has a failure. Step after: `common.logs` writes it.
"""

from collections.abc import Iterator
from typing import Any, Final

from common.logs import kind_and_place

_ERRORS_SHOWN: Final = 4


def failure_record(error: BaseException, *, foreseen: bool) -> dict[str, Any]:
    """What a record says of this failure.

    Args:
        error: what was raised.
        foreseen: whether it is an error of ours, whose text was written for the log.

    Returns:
        `detail`, its text, if it was foreseen. Else `error`, its kind; `at`, the last places that it passed,
        `file:line function`; and `after`, the same of those that led to it, the latest first.
    """
    if foreseen:
        return {"detail": str(error)}
    record, *causes = map(kind_and_place, _chain(error))
    return {**record, "after": causes} if causes else record


def _chain(error: BaseException) -> Iterator[BaseException]:
    """This error and those that led to it, as a traceback would show them."""
    shown: BaseException | None = error
    for _ in range(_ERRORS_SHOWN):
        if shown is None:
            return
        yield shown
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
