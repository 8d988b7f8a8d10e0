"""Owns whether this worker can answer callers: the service is there, and says that it is ready.

Before it: `worker` runs it beside the requests, which neither wait for it nor cause it. After it:
`service_client` asks, at a bounded rate and with a deadline; `routes` tells.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import structlog

ASK_SECONDS: Final = 1.0
"""How long the service may take to say how it is."""

SECONDS_WHILE_READY: Final = 0.5
SECONDS_WHILE_NOT: Final = 0.25

DOUBTS_IN_A_ROW: Final = 2
"""So many questions without an answer mean that the service hangs. One may be a busy moment."""

_log = structlog.get_logger(__name__)


class Problem(NamedTuple):
    """Why the service cannot answer callers.

    Attributes:
        text: for the log.
        certain: whether it has said so, or is not there; False where it only did not answer in time.
    """

    text: str
    certain: bool


class Readiness:
    """What the service has last said of itself.

    Attributes:
        ready: whether callers can be answered; False until it has said so.
    """

    def __init__(self) -> None:
        self.ready = False

    async def run(
        self,
        ask: Callable[[float], Awaitable[Problem | None]],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Asks again and again; for a task of its own.

        Args:
            ask: gives None if the service is ready, else why it is not; its argument is the time for it, in
                seconds. It raises nothing.
            sleep: waits between two questions.
        """
        known, doubts = False, 0
        while True:
            problem = await ask(ASK_SECONDS)
            doubts = doubts + 1 if problem is not None and not problem.certain else 0
            if problem is None and not self.ready:
                _log.info("ready")
            if problem is None or not self.ready or problem.certain or doubts >= DOUBTS_IN_A_ROW:
                if problem is not None and (self.ready or not known):
                    _log.warning("not_ready", problem=problem.text)
                known = True
                self.ready = problem is None
            await sleep(SECONDS_WHILE_READY if problem is None else SECONDS_WHILE_NOT)
