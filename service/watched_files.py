"""Owns noticing that files have changed: their content, whatever replaced it and however.

Step after: `service.reloading` reads them anew.

Files are polled, as no notification reaches everywhere: Kubernetes swaps symlinks above a mounted secret, and
network file systems tell nobody. What counts is the content, so a file that is merely touched is no change; a
file that comes, goes or cannot be read any more is one.
"""

import asyncio
import hashlib
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.file_reads import HANGS_AFTER_SECONDS, read_aside

INTERVAL_SECONDS: Final = 1.0
MOST_UNQUIET_LOOKS: Final = 3
"""So many looks in a row may find something new before that is told, as it may never end."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look at a file found.

    Attributes:
        signature: of the file's status: where it is the same, the content most likely is.
        unquiet: whether the signature differed from that of the look before.
        digest: of the content; None when there is none to read.
    """

    signature: tuple[int, ...]
    unquiet: bool
    digest: bytes | None

    def written_since(self, before: "_Seen") -> bool:
        """Whether the file was written, with the same or another content."""
        return (self.signature, self.digest) != (before.signature, before.digest)


class WatchedFiles:
    """Tells when the content of any of these files is another than when this was made.

    Make it before the files are read for the first time: then no change is missed.

    Args:
        paths: the files; they need not exist.
        pause: waits for so many seconds.
        hangs_after: seconds after which a look is said to hang.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        hangs_after: float = HANGS_AFTER_SECONDS,
    ) -> None:
        self._pause = pause
        self._hangs_after = hangs_after
        self._seen = {path: _look(path, None) for path in sorted(set(paths))}

    async def changes(self, on_hang: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
        """Yields once the files have changed and then stayed as they are for a second; without an end.

        So a file that is written in several steps is told of once. Several changes may be told as one. A file
        that is written while the consumer is busy is told of afterwards, even if its content is then the same
        again: the consumer may have read what was there in between.

        Args:
            on_hang: called when looking at the files takes too long. That it has ended is told as a change.
        """
        hung = False

        def heard() -> None:
            nonlocal hung
            hung = True
            on_hang()

        while True:
            hung = False
            # The consumer has read the files since the last look; before the first one, who made this has.
            before = await self._look_again(heard)
            changed = any(seen.written_since(before[path]) for path, seen in self._seen.items())
            # What was said to hang is to be heard of again when it does not.
            while not changed and not hung:
                changed = await self._changed_meanwhile(heard)
            for _ in range(MOST_UNQUIET_LOOKS - 1):
                if not await self._changed_meanwhile(heard):
                    break
            yield

    async def _changed_meanwhile(self, on_hang: Callable[[], None]) -> bool:
        """Whether any content is another after a pause."""
        await self._pause(INTERVAL_SECONDS)
        before = await self._look_again(on_hang)
        return any(seen.digest != before[path].digest for path, seen in self._seen.items())

    async def _look_again(self, on_hang: Callable[[], None]) -> dict[Path, _Seen]:
        """Looks at all files, and gives what was seen before."""
        before = self._seen
        # Reading may hang on a network file system: other calls go on meanwhile.
        self._seen = await read_aside(
            lambda: {path: _look(path, seen) for path, seen in before.items()}, on_hang, self._hangs_after
        )
        return before


def _look(path: Path, before: _Seen | None) -> _Seen:
    try:
        status = path.stat()
        signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        unquiet = before is None or before.signature != signature
        # Two writes within one tick of the file system's clock have one signature. So the look after a new
        # signature reads the content too.
        if before is not None and not unquiet and not before.unquiet:
            return before
        # A pipe can be read only once, and not by us.
        return _Seen(signature, unquiet, _digest(path) if stat.S_ISREG(status.st_mode) else None)
    except (OSError, ValueError):  # absent, forbidden, gone since; or no path at all
        return _Seen((), True, None)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
