"""Owns how many bytes of answers to unary calls one caller may leave unread.

gRPC keeps an answer in memory, twice, until its caller takes it, and its call runs for as long. Whoever asks
for long lists and reads none of them would fill the memory. (A relay stream counts for itself:
`service.relay.outbox`.)

Step before: `service.tenant_limits` knows the caller. Step after: `service.answer_space` asks for space.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar, cast

from service.errors import Overloaded
from service.places import Limit
from service.rpc_types import Context

MOST_BYTES: Final = 32 * 1024 * 1024
"""Of one caller; more only for one answer that is alone."""

LEAST_BYTES: Final = 16 * 1024
"""What an answer counts at least, as the call that it belongs to takes memory too."""

MOST_WAIT_SECONDS: Final = 5.0
"""How long an answer waits for space; its call then fails."""

Who = TypeVar("Who", bound=Hashable)


class _Held:
    """What one caller holds, and who waits for more: how many bytes, and the turn."""

    __slots__ = ("line", "size")

    def __init__(self) -> None:
        self.size = 0
        self.line: deque[tuple[int, asyncio.Future[None]]] = deque()

    def fits(self, size: int) -> bool:
        return not self.size or self.size + size <= MOST_BYTES


class UnsentAnswers(Generic[Who]):
    """Lets answers be made as far as their callers take them.

    Args:
        refused: told of each refusal.
    """

    def __init__(self, refused: Callable[[Limit], None]) -> None:
        self._refused = refused
        self._held: dict[Who, _Held] = {}

    def bytes_of(self, who: Who) -> int:
        """What this one holds."""
        held = self._held.get(who)
        return 0 if held is None else held.size

    async def keep(self, who: Who, call: Context, size: int) -> None:
        """Returns when an answer of so many bytes may be made, in the order of coming.

        The space is given back when the call is over.

        Raises:
            Overloaded: the caller does not take what it has asked for.
        """
        size = max(size, LEAST_BYTES)
        held = self._held.setdefault(who, _Held())
        if held.line or not held.fits(size):
            await self._wait(who, held, size)
        else:
            held.size += size
        call.add_done_callback(cast(Any, lambda _call: self._give_back(who, held, size)))

    async def _wait(self, who: Who, held: _Held, size: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        held.line.append((size, turn))
        try:
            async with asyncio.timeout(MOST_WAIT_SECONDS):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back(who, held, size)
            else:
                turn.cancel()
                self._admit(who, held)  # it may have been all that held up the next
            if isinstance(error, TimeoutError):
                self._refused(Limit.UNSENT_ANSWERS)
                raise Overloaded.by(Limit.UNSENT_ANSWERS.value) from None
            raise

    def _give_back(self, who: Who, held: _Held, size: int) -> None:
        held.size -= size
        self._admit(who, held)

    def _admit(self, who: Who, held: _Held) -> None:
        while held.line:
            size, turn = held.line[0]
            if not turn.done():  # else it was cancelled while it waited
                if not held.fits(size):
                    return
                held.size += size
                turn.set_result(None)
            held.line.popleft()
        # It may be another by now: who was cancelled while it waited comes here later than it left the line.
        if not held.size and self._held.get(who) is held:
            del self._held[who]
