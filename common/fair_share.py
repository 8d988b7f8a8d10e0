"""Owns how some places are shared among those who want them: pure counting, without a task or a lock.

Step before: `service.overload`, `service.places` and `edge.admission` say who wants a place. There is no step
after.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

Who = TypeVar("Who", bound=Hashable)


class FairShare(Generic[Who]):
    """Counts who holds how many of some places.

    Each may hold as many as are left free, so one alone holds half of them, two a third each, and so on: who
    takes all that can be had leaves a place for everybody else.

    Args:
        most: how many places there are.
        most_each: what one may hold even when more are free; None is no such limit.

    Attributes:
        most_each: the same; may be changed.
    """

    __slots__ = ("_held", "_most", "_total", "most_each")

    def __init__(self, most: int, most_each: int | None = None) -> None:
        self._most = most
        self.most_each = most if most_each is None else most_each
        self._total = 0
        self._held: dict[Who, int] = {}

    def __len__(self) -> int:
        """How many places are held."""
        return self._total

    def enter(self, who: Who) -> bool:
        """Takes a place, which `leave` gives back; False where there is none for this one."""
        held = self._held.get(who, 0)
        if held >= self._most - self._total or held >= self.most_each:
            return False
        self._held[who] = held + 1
        self._total += 1
        return True

    def leave(self, who: Who) -> None:
        """Gives back one place."""
        held = self._held[who] - 1
        if held:
            self._held[who] = held
        else:
            del self._held[who]
        self._total -= 1
