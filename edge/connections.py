"""Owns how many connections one worker holds open at a time.

Before it: `__main__`, at start. After it: granian, which accepts no further connection while it has so many.

A client that sends nothing, or headers or a body without an end, holds its connection until its time is over.
So there is room for thousands of them; else some more than a thousand would keep everybody else waiting.
"""

import resource
from typing import Final

MOST_CONNECTIONS: Final = 4096
"""Each may take some 64 KiB, for the headers that it has sent so far."""
OTHER_FILES: Final = 256
"""Open files that are no caller's connection: to the service, of the event loop, of Python."""


def make_room() -> int:
    """Raises this process's limit of open files as far as it is needed and allowed; workers inherit it.

    Returns:
        How many connections a worker may hold.
    """
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_FILES
    if limit != resource.RLIM_INFINITY and limit < wanted:
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    return MOST_CONNECTIONS if limit == resource.RLIM_INFINITY else max(1, min(limit, wanted) - OTHER_FILES)
