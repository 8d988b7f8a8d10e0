"""Owns that there is a stream to the service: opens one, and the next when it ends or the service leaves.

Before it: `client` needs a stream for a call. After it: `stream`.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Final, Protocol, Self

import grpc
import structlog

from edge.relay.stream import Exchange, Stream
from tenantrooms_client.errors import DeadlineExceeded, Unavailable

PATIENCE_SECONDS: Final = 0.75
"""How long a call waits for a stream before it is told that nobody is there.

Longer than the channel rests between two attempts to connect, so that a service is found which is there."""

_OPEN_SECONDS: Final = 2.0
_SECONDS_WITHOUT: Final = 10.0
_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.25
_STEADY_SECONDS: Final = 1.0

# Nobody has answered; any other code is a refusal.
_NOBODY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})

_log = structlog.get_logger(__name__)


class _Opened(Enum):
    """How it went to open a stream."""

    OPEN = "open"
    NOBODY = "nobody"
    REFUSED = "refused"


class Watch(Protocol):
    """What is told of streams: `edge.numbers.Row`."""

    def relay_tried(self, outcome: str) -> None:
        """A stream was to be opened."""
        ...

    def relay_lost(self) -> None:
        """The stream takes no more calls."""
        ...


class Connection:
    """Keeps one stream open inside `async with`, or knows that the service has no relay for this edge.

    Args:
        start: starts an exchange with the service, on whichever channel is in use then.
        patience: seconds that a call waits for a stream, or longer while the first attempt takes longer.
        watch: is told how it goes.
    """

    def __init__(
        self, start: Callable[[], Exchange], patience: float = PATIENCE_SECONDS, watch: Watch | None = None
    ) -> None:
        self._start = start
        self._patience = patience
        self._watch = watch
        self._stream: Stream | None = None
        self._known = asyncio.Event()  # that there is a stream, or that the relay is refused
        self._lost = asyncio.Event()
        self._tried = asyncio.Event()  # that no attempt is under way
        self._misses = 0
        self._streams: dict[Stream, asyncio.Task[None]] = {}  # also those that end, and what waits for that
        self._last: _Opened | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
            self._tried.set()
        for stream in list(self._streams):
            await stream.close()

    async def stream(self, deadline: float) -> Stream | None:
        """A stream that takes calls; None if the service has refused one lately.

        Raises:
            Unavailable: none has come, though it was tried for long enough.
            DeadlineExceeded: `deadline` (by the event loop's clock) has passed before that.
        """
        if not self._known.is_set():
            misses, enough = self._misses, asyncio.get_running_loop().time() + self._patience
            try:
                async with asyncio.timeout_at(deadline):
                    with suppress(TimeoutError):
                        async with asyncio.timeout_at(enough):
                            await self._known.wait()
                    # Nobody's absence is known as long as the first attempt is still under way.
                    if self._misses == misses and not self._known.is_set():
                        await self._tried.wait()
            except TimeoutError:
                text = "Deadline Exceeded"
                raise DeadlineExceeded(grpc.StatusCode.DEADLINE_EXCEEDED, None, text) from None
            if not self._known.is_set():
                raise Unavailable(grpc.StatusCode.UNAVAILABLE, None, "The service is not there")
        return self._stream

    def renew(self) -> None:
        """Changes over to a new stream, for when `start` has another channel from now on. No call is lost."""
        if self._stream is not None:
            self._stream.leave()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _SHORTEST_PAUSE
        while True:
            began = loop.time()
            opened = await self._open()
            if _is_cancelled():
                return  # which gRPC may have told as a call that failed
            if opened is _Opened.OPEN:
                await self._lost.wait()
                if loop.time() - began > _STEADY_SECONDS:
                    pause = _SHORTEST_PAUSE
                    continue
            if opened is _Opened.REFUSED:
                await asyncio.sleep(_SECONDS_WITHOUT)
            else:
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - it keeps no secret
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _open(self) -> _Opened:
        self._tried.clear()
        stream: Stream | None = None
        code = None
        try:
            stream = Stream(self._start(), self._lose)
            async with asyncio.timeout(_OPEN_SECONDS):
                opened = _Opened.OPEN if await stream.open() else _Opened.REFUSED
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            opened = _Opened.NOBODY if error.code() in _NOBODY else _Opened.REFUSED
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            opened = _Opened.NOBODY  # the channel was closed under it
        except Exception as error:  # noqa: BLE001 - whatever it is, calls go on without the relay
            code = type(error).__qualname__
            opened = _Opened.REFUSED
        if opened is _Opened.OPEN and stream is not None:
            self._take_up(stream)
        else:
            if stream is not None:
                await stream.close()
            if opened is _Opened.REFUSED:
                self._known.set()
            else:
                self._misses += 1
                self._known.clear()
        self._tried.set()
        if self._watch is not None:
            self._watch.relay_tried(opened.value)
        if opened is not self._last:
            self._last = opened
            _log.info("relay_changed", state=opened.value, code=code)
        return opened

    def _take_up(self, stream: Stream) -> None:
        self._stream = stream
        self._lost.clear()
        self._known.set()
        ending = asyncio.create_task(stream.over())
        self._streams[stream] = ending
        ending.add_done_callback(lambda _: self._streams.pop(stream, None))

    def _lose(self) -> None:
        self._stream = None
        self._known.clear()
        self._lost.set()
        if self._watch is not None:
            self._watch.relay_lost()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
