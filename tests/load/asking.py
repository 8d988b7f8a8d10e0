"""Many clients who ask side by side and judge every answer."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.load.connection import Connection
from tests.load.questions import LISTS, Question, Verdict


@dataclass
class Tally:
    """What came back so far. Times are seconds."""

    right: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    """By status."""
    broken: Counter[str] = field(default_factory=Counter)
    """Calls without an answer, by the error."""
    wrong: list[str] = field(default_factory=list)
    times_of_lists: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """Of right answers."""
    last_right: float = 0.0
    """When the last right answer came, by time.monotonic()."""

    @property
    def answered(self) -> int:
        """All calls that had an answer."""
        return self.right + self.refused.total() + len(self.wrong)

    @property
    def calls(self) -> int:
        """All calls."""
        return self.answered + self.broken.total()

    def __str__(self) -> str:
        refused = ", ".join(f"{count:,} × {status}" for status, count in sorted(self.refused.items()))
        broken = ", ".join(f"{count:,} × {error}" for error, count in sorted(self.broken.items()))
        parts = [f"{self.right:,} right", refused, broken and f"no answer: {broken}"]
        return "; ".join(part for part in parts if part) + f"; {len(self.wrong)} wrong"


async def ask_until(
    url: str,
    questions: Sequence[Question],
    clients: int,
    over: Callable[[Tally], bool],
    *,
    pause: float = 0.0,
    tally: Tally | None = None,
) -> Tally:
    """Lets so many clients ask in turn, each over its own connection, until it is over.

    Args:
        pause: seconds between two questions of one client, give or take a half.
        tally: is filled while it goes on, for whoever watches.
    """
    tally = tally or Tally()
    upcoming = itertools.cycle(questions)

    async def client() -> None:
        await asyncio.sleep(pause * random.random())  # they do not come all at once
        async with Connection(url) as connection:
            while not over(tally):
                await _ask(connection, next(upcoming), tally)
                if pause:
                    await asyncio.sleep(pause * random.uniform(0.5, 1.5))

    async with asyncio.TaskGroup() as running:
        for _ in range(clients):
            running.create_task(client())
    return tally


async def _ask(connection: Connection, question: Question, tally: Tally) -> None:
    began = time.perf_counter()
    try:
        answer = await connection.ask(question.path, question.token)
    except OSError as error:
        tally.broken[type(error).__name__] += 1
        await asyncio.sleep(0.02)  # who is refused at once must not fill the machine with refusals
        return
    took = time.perf_counter() - began
    verdict = question.verdict(answer.status, answer.body)
    if verdict is Verdict.RIGHT:
        tally.right += 1
        tally.last_right = time.monotonic()
        tally.times.append(took)
        if question.path == LISTS:
            tally.times_of_lists.append(took)
    elif verdict is Verdict.REFUSED:
        tally.refused[answer.status] += 1
        await asyncio.sleep(0.1 if answer.status == 429 else 0.02)
    else:
        tally.wrong.append(f"{question.path}: {answer.status} {answer.body[:300]!r}")


@asynccontextmanager
async def asked_meanwhile(
    url: str, questions: Sequence[Question], clients: int, *, pause: float = 0.0
) -> AsyncIterator[Tally]:
    """Clients who ask for as long as the block lasts; gives what came back so far."""
    tally = Tally()
    leaving = asyncio.Event()
    asking = asyncio.create_task(
        ask_until(url, questions, clients, lambda _: leaving.is_set(), pause=pause, tally=tally)
    )
    try:
        yield tally
    finally:
        leaving.set()
        await asking


async def until(condition: Callable[[], bool], what: str, *, seconds: float = 30.0) -> float:
    """Waits until it is so; gives the seconds that it took. Raises TimeoutError."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 (other processes send no event to wait for)
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise TimeoutError(f"not within {seconds} s: {what}") from None
    return time.monotonic() - began


async def more_right(tally: Tally, more: int = 20) -> float:
    """Waits for so many more right answers; gives the seconds until the first of them came."""
    before = tally.right
    first = await until(lambda: tally.right > before, "right answers")
    await until(lambda: tally.right >= before + more, "right answers")
    return first


def percentile(times: Sequence[float], share: float) -> float:
    """The time that this share of all stays below or at, in milliseconds."""
    return 1000 * sorted(times)[min(len(times) - 1, int(len(times) * share))] if times else 0.0
