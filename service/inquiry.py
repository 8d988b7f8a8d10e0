"""Owns what a question to LiveKit shares with those that its failure leads to: one deadline, one second try.

Step before: `service.batches` asks, and asks in halves where that failed. Step after: `service.livekit_retry`
sets the deadline when the first of them is asked, and tries none of the others again.
"""

from contextvars import ContextVar
from typing import Final


class Inquiry:
    """A question, and those that it leads to.

    Attributes:
        deadline: of all of them, by the event loop's clock; None until the first one is asked.
    """

    __slots__ = ("deadline",)

    def __init__(self) -> None:
        self.deadline: float | None = None


INQUIRY: Final[ContextVar[Inquiry]] = ContextVar("inquiry")
"""What the questions that are asked in this context belong to; unset where each is one of its own."""
