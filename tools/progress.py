"""Runs a long command with one live line on the screen and its whole output in a log file.

On a terminal the line is rewritten in place; elsewhere (CI) a line appears at the start, now and then,
and at the end. Standard library only: set-up uses it before anything is installed.
"""

import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TextIO

__all__ = ["CommandError", "Progress", "last_lines"]

REFRESH_SECONDS: Final = 0.2
QUIET_SECONDS: Final = 15.0
"""Between two lines where the screen is not a terminal."""


class CommandError(Exception):
    """A command failed; the message names it and its log, and shows the log's last lines."""


def last_lines(log: Path, count: int = 15, width: int = 200) -> str:
    """The last `count` lines of a log, each cut to `width` characters and indented; for error messages."""
    if not log.is_file():
        return "    (no log)"
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64 * 1024))
        lines = file.read().decode("utf-8", "replace").splitlines()[-count:]
    return "\n".join(f"    {line if len(line) <= width else line[: width - 1] + '…'}" for line in lines)


class Progress:
    """Shows commands at work on `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()

    def say(self, text: str) -> None:
        """Print a line of its own."""
        print(text, file=self._stream, flush=True)

    def run(
        self,
        label: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        status_of: Callable[[str], str | None],
    ) -> None:
        """Run `command` to its end; both its outputs are appended to `log`.

        `status_of` is given each line of the output and says what to show next to the label, or None
        to leave what is there. Raises CommandError when the command cannot start or fails. An
        interrupt ends the command before it goes on.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        line = _Line(self._stream, label, live=self._live)
        with log.open("ab") as sink:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    env=env, cwd=cwd,
                )  # fmt: skip
            except OSError as error:
                raise CommandError(f"{command[0]} could not be started: {error.strerror}.") from error
            with process:
                try:
                    _follow(process, sink, line, status_of)
                except BaseException:
                    process.terminate()
                    line.end("stopped")
                    raise
        if process.returncode != 0:
            line.end("failed")
            raise CommandError(
                f"{label}: the command ended with exit code {process.returncode}. "
                f"Its last lines ({log}):\n{last_lines(log)}"
            )
        line.end("done")


def _follow(
    process: "subprocess.Popen[bytes]", sink: BinaryIO, line: "_Line", status_of: Callable[[str], str | None]
) -> None:
    """Copy the output to the log until it ends, and keep the live line alive while nothing comes."""
    assert process.stdout is not None  # noqa: S101 - asked for with PIPE
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            line.show()
            if not selector.select(REFRESH_SECONDS):
                continue
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            sink.write(chunk)
            *complete, rest = (rest + chunk).split(b"\n")
            for one in complete:
                line.status = status_of(one.decode("utf-8", "replace").strip()) or line.status
    sink.flush()
    process.wait()


class _Line:
    """The label, the seconds so far and the latest status, on one line."""

    def __init__(self, stream: TextIO, label: str, *, live: bool) -> None:
        self.status = ""
        self._stream, self._label, self._live = stream, label, live
        self._began = time.monotonic()
        self._shown = 0.0
        if not live:
            print(f"{label} …", file=stream, flush=True)
            self._shown = self._began

    def show(self) -> None:
        """Rewrite the line, or print one more where that is not possible, if it is time to."""
        now = time.monotonic()
        if now - self._shown < (REFRESH_SECONDS if self._live else QUIET_SECONDS):
            return
        self._shown = now
        text = f"{self._label} … {now - self._began:.0f} s  {self.status}"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[:width]}", end="", file=self._stream, flush=True)
        else:
            print(text, file=self._stream, flush=True)

    def end(self, word: str) -> None:
        """Close the line with how it went."""
        start = "\r\x1b[K" if self._live else ""
        seconds = time.monotonic() - self._began
        print(f"{start}{self._label}: {word} ({seconds:.0f} s)", file=self._stream, flush=True)
