"""Owns that an answer is made only once there is space for it, where whoever carries answers bounds them.

Step before: `service.servicer` has all that its answer is made of, and knows its size. Step after:
`service.relay.outbox` for a relayed call, `service.unsent_answers` for a unary one.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final

SPACE: Final[ContextVar[Callable[[int], Awaitable[None]]]] = ContextVar("space")
"""Waits for space for so many bytes, and keeps it for this call's answer; unset where nothing bounds them."""


async def space_for(size: int) -> None:
    """Returns when an answer of so many bytes may be made. To be called at most once in a call."""
    wait = SPACE.get(None)
    if wait is not None:
        await wait(size)
