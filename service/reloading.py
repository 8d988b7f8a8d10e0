"""Owns taking up new secrets and keys without a restart: all of them, or, if anything is wrong, none.

Step before: `service.watched_files` tells of a change. Step after: `service.server` puts what depends on the
new settings in the place of the old.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Self, TypeVar

import structlog

from common.settings import SettingsError
from service.file_reads import HANGS_AFTER_SECONDS, read_aside
from service.settings import Settings

_log = structlog.get_logger(__name__)

Opened = TypeVar("Opened")


class Reloader:
    """Reads the settings anew after each change.

    Args:
        load: reads them, from the environment as it was at start and from its files as they are now.
        take_up: puts them into effect, wholly; when it raises, everything is as before.
        on_reload: told of each change whether it was taken up, and of each read that hangs.
        hangs_after: seconds after which a read is said to hang.

    Attributes:
        reloads: how often new settings were taken up.
        failures: how often new settings were refused and the old ones stayed, or a read hung.
    """

    def __init__(
        self,
        load: Callable[[], Settings],
        take_up: Callable[[Settings], Awaitable[None]],
        on_reload: Callable[[bool], None] = lambda _: None,
        hangs_after: float = HANGS_AFTER_SECONDS,
    ) -> None:
        self._load = load
        self._hangs_after = hangs_after
        self._take_up = take_up
        self._on_reload = on_reload
        self.reloads = 0
        self.failures = 0

    async def run(self, changes: AsyncIterator[None]) -> None:
        """Reloads at each of these changes, until they end."""
        try:
            async for _ in changes:
                await self.reload()
        except Exception as error:  # noqa: BLE001 (nobody awaits this; it must not end unheard)
            self.failures += 1
            self._on_reload(False)
            _log.error(
                "files are watched no longer, so changes take a restart",
                problem=type(error).__name__,
                failures=self.failures,
            )

    async def reload(self) -> bool:
        """Reads the settings and puts them into effect; says whether that went well."""
        try:
            # Aside: a file may be on a disk that hangs, and a large list takes a moment to read.
            settings = await read_aside(self._load, self.hangs, self._hangs_after)
            await self._take_up(settings)
        except SettingsError as error:
            self._refused(error.problems)
        except Exception as error:  # noqa: BLE001 (whatever it is, the old state serves on)
            self._refused([type(error).__name__])  # its text may hold what stands in a file
        else:
            self.reloads += 1
            self._on_reload(True)
            _log.info("changed files were taken up", reloads=self.reloads)
            return True
        return False

    def hangs(self) -> None:
        """Tells that a file takes too long to be read; nothing is taken up until that ends."""
        self.failures += 1
        self._on_reload(False)
        _log.error(
            "reading a file hangs, changes are not taken up until it ends",
            seconds=self._hangs_after,
            failures=self.failures,
        )

    def _refused(self, problems: list[str]) -> None:
        self.failures += 1
        self._on_reload(False)
        _log.error(
            "changed files are not taken up, what was read before stays in use",
            problems=problems,
            failures=self.failures,
        )


class Generations:
    """Keeps open what the settings in use need, and closes later what older ones needed.

    Calls that began with the older resources finish with them, within a time that is given when those are
    opened.

    Args:
        pause: waits for so many seconds.
    """

    def __init__(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._pause = pause
        self._newest: tuple[AsyncExitStack, float] | None = None
        self._closing: dict[asyncio.Task[None], AsyncExitStack] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        closing = dict(self._closing)
        for task in closing:
            task.cancel()
        if closing:
            await asyncio.wait(closing)
        stacks = [*closing.values(), *([self._newest[0]] if self._newest is not None else [])]
        async with AsyncExitStack() as everything:  # goes on when one of them cannot be closed
            for each in stacks:
                everything.push_async_callback(each.aclose)

    async def open(self, resource: AbstractAsyncContextManager[Opened], seconds: float) -> Opened:
        """Opens what is to be in use from now on; what was in use so far is closed after its time.

        Whoever calls this must put the new in the place of the old before it waits for anything else.

        Args:
            resource: the new one. When it cannot be opened, the old one stays.
            seconds: how long calls that begin with it may need it, once something newer has been opened.
        """
        stack = AsyncExitStack()
        opened = await stack.enter_async_context(resource)
        if self._newest is not None:
            self._close_later(*self._newest)
        self._newest = (stack, seconds)
        return opened

    def _close_later(self, stack: AsyncExitStack, seconds: float) -> None:
        task = asyncio.create_task(self._close(stack, seconds))
        self._closing[task] = stack
        task.add_done_callback(self._closing.pop)

    async def _close(self, stack: AsyncExitStack, seconds: float) -> None:
        await self._pause(seconds)
        await stack.aclose()
