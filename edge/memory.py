"""Owns how often a worker's garbage collector looks for cycles.

Before it: `worker`, once everything is loaded. A request makes some fifty containers and no cycles, and many
requests are under way at once. Python's defaults take their number for garbage: they look through the young
objects every few requests, and now and then through all that was imported, which takes some 50 ms.
"""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""Containers, more than were freed since, that are made between two looks; some hundreds of requests."""


def settle() -> None:
    """Leaves what there is now, which lives as long as the process, out of the looks, and looks less."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
