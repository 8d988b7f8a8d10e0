"""Watched files: what is a change of content, and when it is told."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from service import watched_files
from service.watched_files import INTERVAL_SECONDS, MOST_UNQUIET_LOOKS, WatchedFiles


class Pauses:
    """Time that passes in steps: before each look, what a test says happens."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)
        self.looks = 0
        self.ended = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        assert seconds == INTERVAL_SECONDS
        if not self._steps:
            self.ended.set()
            await asyncio.Event().wait()
        self.looks += 1
        self._steps.pop(0)()


def nothing() -> None:
    pass


async def told_at(paths: list[Path], *steps: Callable[[], object]) -> list[int]:
    """At which looks, counted from one, changes were told, while these things happened before the looks."""
    pauses = Pauses(*steps, nothing)
    files = WatchedFiles(paths, pauses)
    told: list[int] = []

    async def consume(changes: AsyncIterator[None]) -> None:
        async for _ in changes:
            told.append(pauses.looks)  # noqa: PERF401 (the changes have no end)

    consuming = asyncio.create_task(consume(files.changes()))
    await pauses.ended.wait()
    consuming.cancel()
    await asyncio.wait([consuming])
    return told


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("old")
    return path


async def test_without_a_change_nothing_is_told(file: Path) -> None:
    assert await told_at([file, file.with_name("absent")], *[nothing] * 5) == []


async def test_a_change_is_told_once_after_a_quiet_look(file: Path) -> None:
    assert await told_at([file], nothing, lambda: file.write_text("new"), *[nothing] * 4) == [3]


def replace(file: Path, text: str) -> None:
    new = file.with_name("new")
    new.write_text(text)
    new.replace(file)


def become_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "written anew": lambda file: file.write_text("new"),
    "written anew, as long as before": lambda file: file.write_text("dlo"),
    "replaced": lambda file: replace(file, "new"),
    "emptied": lambda file: file.write_text(""),
    "removed": lambda file: file.unlink(),
    "a folder now": become_folder,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_each_way_of_changing_is_seen(file: Path, change: Callable[[Path], object]) -> None:
    assert await told_at([file], lambda: change(file), nothing, nothing) == [2]


async def test_a_file_that_comes_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert await told_at([file], nothing, lambda: file.write_text("new"), nothing) == [3]


SAME: dict[str, Callable[[Path], object]] = {
    "touched": lambda file: os.utime(file, (1, 1)),
    "replaced by its like": lambda file: replace(file, "old"),
    "written with the same": lambda file: file.write_text("old"),
    "other rights": lambda file: file.chmod(0o600),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
async def test_the_same_content_is_no_change(file: Path, change: Callable[[Path], object]) -> None:
    assert await told_at([file], lambda: change(file), nothing, nothing) == []


async def test_a_write_that_leaves_no_trace_in_the_files_status_is_seen_after_another(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # two writes within one tick of the file system's clock
    now = os.stat(file)  # noqa: PTH116 (as below)

    def write(text: str) -> None:
        nonlocal now
        file.write_text(text)
        if text == "one":
            now = os.stat(file)  # noqa: PTH116 (Path.stat is replaced)

    monkeypatch.setattr(Path, "stat", lambda _: now)
    assert await told_at([file], lambda: write("one"), lambda: write("two"), nothing, nothing) == [3]


async def test_such_a_write_is_seen_while_the_consumer_is_busy_too(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.stat(file)  # noqa: PTH116 (as above)
    monkeypatch.setattr(Path, "stat", lambda _: status)
    files = WatchedFiles([file], Pauses(nothing))
    replace(file, "new")
    await anext(files.changes())


async def test_a_mounted_secret_whose_folder_is_swapped_is_seen(tmp_path: Path) -> None:  # as Kubernetes does
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "file").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "file").symlink_to("..data/file")

    def swap() -> None:
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    assert await told_at([tmp_path / "file"], nothing, swap, nothing, nothing) == [3]


async def test_a_file_written_in_two_steps_is_told_once(file: Path) -> None:
    steps = [lambda: file.write_text("ne"), lambda: file.write_text("new"), nothing, nothing]
    assert await told_at([file], *steps) == [3]


async def test_changes_that_never_end_are_told_all_the_same(file: Path) -> None:
    steps = [lambda number=number: file.write_text(str(number)) for number in range(2 * MOST_UNQUIET_LOOKS)]
    assert await told_at([file], *steps) == [MOST_UNQUIET_LOOKS, 2 * MOST_UNQUIET_LOOKS]


async def test_what_changed_between_the_making_and_the_first_look_is_told(file: Path) -> None:
    pauses = Pauses(nothing, nothing)
    files = WatchedFiles([file], pauses)
    replace(file, "new")
    await anext(files.changes())
    assert pauses.looks == 1


async def test_what_changes_while_the_consumer_is_busy_is_told_afterwards(file: Path) -> None:
    pauses = Pauses(lambda: file.write_text("1"), *[nothing] * 2)
    changes = WatchedFiles([file], pauses).changes()
    await anext(changes)
    replace(file, "2")
    await anext(changes)
    assert pauses.looks == 3


@pytest.mark.parametrize("write", [Path.write_text, replace])
async def test_what_changes_there_and_back_while_it_is_read_is_told_too(
    file: Path, write: Callable[[Path, str], object]
) -> None:  # else what was there in between would stay in use
    pauses = Pauses(lambda: file.write_text("1"), *[nothing] * 4)
    files = WatchedFiles([file], pauses)
    write(file, "2")
    write(file, "old")  # who made it may have read the 2
    changes = files.changes()
    await anext(changes)
    write(file, "2")
    write(file, "1")
    await anext(changes)
    assert pauses.looks == 3


async def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for a writer, for ever
    assert await told_at([tmp_path / "pipe"], nothing, nothing) == []


async def test_a_file_that_may_not_be_read_is_a_change(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # by permission it would not be one for root, as whom tests may run
    def forbid() -> None:
        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(Path, "open", refuse)
        os.utime(file, (1, 1))

    try:
        assert await told_at([file], forbid, nothing, nothing) == [2]
    finally:
        monkeypatch.undo()


@pytest.mark.parametrize("text", ["old", "new"])
async def test_a_look_that_hangs_is_told_and_when_it_has_ended_a_change_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    files = WatchedFiles([file], lambda _: asyncio.sleep(0), hangs_after=0.01)
    free, hangs = threading.Event(), asyncio.Event()
    digest = watched_files._digest

    def hang(path: Path) -> bytes:
        free.wait()
        return digest(path)

    monkeypatch.setattr(watched_files, "_digest", hang)
    await asyncio.to_thread(file.write_text, text)
    changes = files.changes(hangs.set)
    change = asyncio.ensure_future(anext(changes))
    await hangs.wait()
    assert not change.done()
    free.set()
    await change
