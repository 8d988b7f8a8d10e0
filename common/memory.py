"""Owns how often a process's garbage collector looks for cycles, and when it must not.

Step before: `service.serving` and `edge.worker`, once everything is loaded. A call makes dozens of containers
and no cycles, and many calls are under way at once. Python's defaults take their number for garbage: they
look through the young objects every few calls, and now and then through all that was imported, which takes
some 50 ms.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""Containers, more than were freed since, that are made between two looks; some hundreds of calls."""


def settle() -> None:
    """Leaves what there is now, which lives as long as the process, out of the looks, and looks less."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


@contextmanager
def no_collection() -> Iterator[None]:
    """Around what somebody else can make recurse until Python ends it.

    What the collector frees at that depth, such as the calls of gRPC, has no room left to end in order: each
    of these writes lines of its own, which are no records, past the log.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
