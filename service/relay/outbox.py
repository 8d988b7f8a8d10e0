"""Owns the answers of one relay stream that wait to be sent, and how they are put into frames.

Step before: `service.relay.stream` has an answer. Step after: the frame goes to the edge.
"""

import asyncio
from collections import deque
from typing import Final

from service.relay.calls import Outcome
from tenantrooms.relay.v1 import relay_pb2 as pb

PIECE_BYTES: Final = 256 * 1024
"""The most that a frame has of one answer, so that a large one does not hold up the small."""

FRAME_BYTES: Final = 1024 * 1024
"""From here on a frame takes no further answer; so it ends below this and one piece more."""

MOST_BYTES: Final = 32 * 1024 * 1024
"""Bytes of answers that wait to be sent or are just made; more only for one that is alone."""

MOST_BYTES_OF_ALL: Final = 256 * 1024 * 1024
"""The same of all streams together; beyond it each stream has one answer at a time."""

_SMALL_CHANGE: Final = 64
"""What an answer takes beside its own bytes, about."""


class Space:
    """What all outboxes hold together.

    Attributes:
        held: how many bytes.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0


class _Waiting:
    """An answer that is not wholly sent."""

    __slots__ = ("call_id", "outcome", "sent")

    def __init__(self, call_id: int, outcome: Outcome) -> None:
        self.call_id = call_id
        self.outcome: Outcome | None = outcome  # None: taken back
        self.sent = 0


class Outbox:
    """The answers that wait, in the order in which they came.

    Args:
        space: what it holds counts there too. Who waits for it waits for this outbox alone to become emptier,
            so an outbox that is read from never stands still because of others that are not.

    Attributes:
        unsent: the bytes of all of them, and of those for which space is kept.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._queue: deque[_Waiting] = deque()
        self._waiting: dict[int, _Waiting] = {}
        self._kept: dict[int, int] = {}
        self._in_line: deque[tuple[int, int, asyncio.Future[None]]] = deque()  # call, bytes, its turn
        self.unsent = 0

    @property
    def is_full(self) -> bool:
        """Whether no further call should begin, as its answer could not be made now."""
        return self.unsent >= MOST_BYTES or bool(self._in_line)

    async def keep_space(self, call_id: int, size: int) -> None:
        """Returns when there is space for an answer of so many bytes, in the order of coming.

        The space is this call's until `put`, or `give_back` where no answer comes.
        """
        if not self._in_line and self._fits(size):
            self._keep(call_id, size)
            return
        turn = asyncio.get_running_loop().create_future()
        self._in_line.append((call_id, size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            self._admit()  # it may have been all that held up the next
            raise

    def give_back(self, call_id: int) -> None:
        """Frees the space that is kept for this call, if any."""
        self._hold(-self._kept.pop(call_id, 0))
        self._admit()

    def _fits(self, size: int) -> bool:
        return not self.unsent or (
            self.unsent + size <= MOST_BYTES and self._space.held + size <= MOST_BYTES_OF_ALL
        )

    def _hold(self, size: int) -> None:
        self.unsent += size
        self._space.held += size

    def _keep(self, call_id: int, size: int) -> None:
        self._kept[call_id] = size
        self._hold(size)

    def _admit(self) -> None:
        """Gives space to those whose turn it is, as far as there is any."""
        while self._in_line:
            call_id, size, turn = self._in_line[0]
            if not turn.done():  # else it was cancelled while it waited
                if not self._fits(size):
                    return
                self._keep(call_id, size)
                turn.set_result(None)
            self._in_line.popleft()

    def put(self, call_id: int, outcome: Outcome) -> None:
        """Adds the answer to a call, which has none here."""
        kept = self._kept.pop(call_id, 0)
        waiting = self._waiting[call_id] = _Waiting(call_id, outcome)
        self._queue.append(waiting)
        self._hold(len(outcome.answer) - kept)
        if self._in_line:
            self._admit()  # the answer may have become shorter, or an error

    def take_back(self, call_id: int) -> bool:
        """Forgets the rest of an answer; False where there is none."""
        waiting = self._waiting.pop(call_id, None)
        if waiting is None or waiting.outcome is None:
            return False
        self._hold(waiting.sent - len(waiting.outcome.answer))
        waiting.outcome = None  # its place in the queue is skipped when it comes up
        self._admit()
        return True

    def fill(self, frame: pb.ExchangeResponse) -> list[int]:
        """Puts what goes out next into this frame. The ids of the calls whose answers are whole with it."""
        add = frame.answers.add  # several times as quick as to make answers and copy them into the frame
        complete: list[int] = []
        size = gone = 0
        for _ in range(len(self._queue)):  # so at most one piece of each
            if size >= FRAME_BYTES:
                break
            waiting = self._queue.popleft()
            outcome = waiting.outcome
            if outcome is None:
                continue
            piece = outcome.answer
            if len(piece) > PIECE_BYTES:
                piece = piece[waiting.sent : waiting.sent + PIECE_BYTES]
                waiting.sent += len(piece)
                if waiting.sent < len(outcome.answer):
                    add(id=waiting.call_id, response=piece, more=True)
                    self._queue.append(waiting)
                    gone += len(piece)
                    size += len(piece)
                    continue
            add(id=waiting.call_id, response=piece, status=outcome.status, request_id=outcome.request_id)
            del self._waiting[waiting.call_id]
            complete.append(waiting.call_id)
            gone += len(piece)
            size += len(piece) + len(outcome.status) + _SMALL_CHANGE
        self._hold(-gone)
        self._admit()
        return complete

    def close(self) -> None:
        """Gives all space back: nothing of it is sent any more."""
        self._space.held -= self.unsent
        self._space = Space()  # what still ends afterwards counts for nobody else
