"""Owns whether this process can answer callers: LiveKit is there, and accepts our key.

Step before: `service.server` runs it beside the calls. Step after: `service.livekit` asks, and
`service.health` is told. Callers' own requests neither wait for this nor cause it, and get the answers that
they would get without it.

One small question is asked at a bounded rate, with the deadline of every call to LiveKit. What came of it is
logged when it changes, with what to do about it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

import structlog

from service.errors import DomainError, LiveKitNotConfigured, LiveKitTimedOut

PROBE_NAME: Final = "tenantrooms-readiness-probe"
"""A room that is asked for by name, which LiveKit answers at nearly no cost. It need not exist."""

SECONDS_WHILE_READY: Final = 2.0
SECONDS_WHILE_NOT: Final = 0.5

TIMEOUTS_IN_A_ROW: Final = 2
"""So many questions without an answer mean that LiveKit hangs. One may be a busy moment."""

_log = structlog.get_logger(__name__)


class NamedRoomsSource(Protocol):
    """Who is asked: `service.livekit.LiveKit`."""

    async def list_rooms_named(self, names: Collection[str]) -> object:
        """Reads rooms by name."""
        ...


class Readiness:
    """Keeps asking LiveKit, and tells when it becomes ready or ceases to be.

    Args:
        livekit: who is asked; None where there is no key for it, so that this can never be ready.
        watch: is told of each change; at first it is not ready.
        sleep: waits between two questions.
    """

    def __init__(
        self,
        livekit: NamedRoomsSource | None,
        watch: Callable[[bool], object],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._livekit = livekit
        self._watch = watch
        self._sleep = sleep
        self._last_failure: str | None = None
        self._ready = False
        self._timeouts = 0

    async def run(self) -> None:
        """Asks again and again; for a task of its own."""
        if self._livekit is None:
            missing = LiveKitNotConfigured()
            self._failed(type(missing).__name__, str(missing))
            return
        while True:
            await self._ask(self._livekit)
            well = self._ready and not self._timeouts
            await self._sleep(SECONDS_WHILE_READY if well else SECONDS_WHILE_NOT)

    async def _ask(self, livekit: NamedRoomsSource) -> None:
        try:
            await livekit.list_rooms_named([PROBE_NAME])
        except LiveKitTimedOut as error:
            self._timeouts += 1
            if not self._ready or self._timeouts >= TIMEOUTS_IN_A_ROW:
                self._failed(type(error).__name__, str(error))
        except DomainError as error:
            self._timeouts = 0
            self._failed(type(error).__name__, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the next question may be answered
            self._timeouts = 0
            self._failed(type(error).__name__, "")
        else:
            self._timeouts = 0
            self._last_failure = None
            self._become(ready=True)

    def _failed(self, kind: str, detail: str) -> None:
        # Once for each kind: a LiveKit that comes back and then refuses our key is news.
        if kind != self._last_failure:
            self._last_failure = kind
            _log.error("not ready", error=kind, detail=detail, effect="callers' questions fail until it is")
        self._become(ready=False)

    def _become(self, *, ready: bool) -> None:
        if ready is not self._ready:
            self._ready = ready
            if ready:
                _log.info("ready")
            self._watch(ready)
