"""Reloading: new settings are taken up wholly or not at all, and what older ones needed is closed in time."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from common.settings import SettingsError
from service.reloading import Generations, Reloader
from service.settings import Settings, load
from service.watched_files import WatchedFiles

CANARY = "canary-5ecret"
OLD, NEW = (load({"AUTH_API_SECRET": secret}) for secret in ("old", "new"))
REFUSED = "changed files are not taken up, what was read before stays in use"


class State:
    """What is in effect, and what is loaded next."""

    def __init__(self) -> None:
        self.loads: list[Settings | Exception] = []
        self.refuses: Exception | None = None
        self.taken_up: list[Settings] = []
        self.told: list[bool] = []
        self.reloader = Reloader(self._load, self._take_up, self.told.append)

    def _load(self) -> Settings:
        loaded = self.loads.pop(0)
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    async def _take_up(self, settings: Settings) -> None:
        if self.refuses:
            raise self.refuses
        self.taken_up.append(settings)

    @property
    def counts(self) -> tuple[int, int]:
        assert (self.told.count(True), self.told.count(False)) == (
            self.reloader.reloads,
            self.reloader.failures,
        )
        return self.reloader.reloads, self.reloader.failures


@pytest.fixture
def state() -> State:
    return State()


async def test_new_settings_are_taken_up_at_each_change(state: State) -> None:
    async def changes() -> AsyncIterator[None]:
        yield
        yield

    state.loads = [NEW, OLD]
    with capture_logs() as logs:
        await state.reloader.run(changes())
    assert state.taken_up == [NEW, OLD]
    assert state.counts == (2, 0)
    assert [record["event"] for record in logs] == ["changed files were taken up"] * 2


async def test_settings_that_cannot_be_used_change_nothing_and_are_told_with_all_problems(
    state: State,
) -> None:
    state.loads = [SettingsError(["first problem", "second problem"])]
    with capture_logs() as logs:
        assert await state.reloader.reload() is False
    assert state.taken_up == []
    assert state.counts == (0, 1)
    (record,) = logs
    assert (record["log_level"], record["event"]) == ("error", REFUSED)
    assert record["problems"] == ["first problem", "second problem"]


@pytest.mark.parametrize("error", [OSError(CANARY), ValueError(CANARY), RecursionError(CANARY)])
@pytest.mark.parametrize("step", ["load", "take up"])
async def test_any_other_failure_changes_nothing_and_tells_no_text(
    state: State, error: Exception, step: str
) -> None:
    state.loads = [error if step == "load" else NEW]
    state.refuses = error
    with capture_logs() as logs:
        assert await state.reloader.reload() is False
    assert (state.taken_up, state.counts) == ([], (0, 1))
    assert [record["problems"] for record in logs] == [[type(error).__name__]]
    assert CANARY not in str(logs)


async def test_it_is_told_when_the_watching_itself_has_failed(state: State) -> None:
    async def changes() -> AsyncIterator[None]:
        yield
        raise OSError(CANARY)

    state.loads = [NEW]
    with capture_logs() as logs:
        await state.reloader.run(changes())
    assert state.counts == (1, 1)
    assert logs[-1]["event"] == "files are watched no longer, so changes take a restart"
    assert CANARY not in repr(logs)


async def test_after_a_failure_the_next_change_is_taken_up(state: State) -> None:
    state.loads = [SettingsError(["a problem"]), NEW]
    assert [await state.reloader.reload(), await state.reloader.reload()] == [False, True]
    assert (state.taken_up, state.counts) == ([NEW], (1, 1))


async def test_a_file_that_changes_twice_while_it_is_read_is_in_use_as_it_is_in_the_end(
    tmp_path: Path,
) -> None:
    file = tmp_path / "secret"
    file.write_text("old")
    pauses: asyncio.Queue[None] = asyncio.Queue()
    taken_up: asyncio.Queue[str] = asyncio.Queue()
    in_between = ["between"]

    async def pause(_seconds: float) -> None:
        await pauses.get()

    def load_slowly() -> Settings:
        wanted = file.read_text()
        for text in in_between:
            file.write_text(text)
        settings = load({"AUTH_API_SECRET_FILE": str(file)})
        file.write_text(wanted)
        in_between.clear()
        return settings

    async def take_up(settings: Settings) -> None:
        taken_up.put_nowait(settings.api_secrets[0].secret)

    files = WatchedFiles([file], pause)
    running = asyncio.create_task(Reloader(load_slowly, take_up).run(files.changes()))
    file.write_text("new")
    for _ in range(4):
        pauses.put_nowait(None)
    assert [await taken_up.get(), await taken_up.get()] == ["between", "new"]
    running.cancel()
    await asyncio.wait([running])


async def test_a_read_that_hangs_is_told_in_log_and_metric_and_taken_up_when_it_ends() -> None:
    free, told, taken_up = threading.Event(), asyncio.Queue[bool](), list[Settings]()

    def load_slowly() -> Settings:
        free.wait()
        return NEW

    async def take_up(settings: Settings) -> None:
        taken_up.append(settings)

    reloader = Reloader(load_slowly, take_up, told.put_nowait, hangs_after=0.01)
    with capture_logs() as logs:
        reloading = asyncio.create_task(reloader.reload())
        assert await told.get() is False
        assert (reloader.failures, taken_up) == (1, [])
        free.set()
        assert await reloading is True
    assert (await told.get(), taken_up) == (True, [NEW])
    assert [record["event"] for record in logs] == [
        "reading a file hangs, changes are not taken up until it ends",
        "changed files were taken up",
    ]


# --- what older settings needed ----------------------------------------------------------------------------


class Resources:
    """Resources that know whether they are open, and time that passes when a test says so."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.pauses: list[tuple[float, asyncio.Event]] = []
        self.closed = asyncio.Event()

    @asynccontextmanager
    async def resource(self, name: str) -> AsyncIterator[str]:
        if name == "broken":
            raise OSError("cannot be closed")
        self.open.append(name)
        try:
            yield name
        finally:
            self.open.remove(name)
            self.closed.set()

    async def pause(self, seconds: float) -> None:
        over = asyncio.Event()
        self.pauses.append((seconds, over))
        await over.wait()


async def test_the_old_is_closed_when_its_time_is_over_and_not_before() -> None:
    resources = Resources()
    async with Generations(resources.pause) as generations:
        assert await generations.open(resources.resource("first"), 7) == "first"
        assert await generations.open(resources.resource("second"), 9) == "second"
        assert resources.open == ["first", "second"]
        await asyncio.sleep(0)
        ((seconds, over),) = resources.pauses
        assert seconds == 7
        over.set()
        await resources.closed.wait()
        assert resources.open == ["second"]
    assert resources.open == []


async def test_one_that_cannot_be_opened_leaves_the_old_one_open() -> None:
    resources = Resources()
    async with Generations(resources.pause) as generations:
        await generations.open(resources.resource("first"), 7)
        with pytest.raises(OSError):  # noqa: PT011 (any will do)
            await generations.open(resources.resource("broken"), 7)
        assert resources.open == ["first"]
        await asyncio.sleep(0)
        assert resources.pauses == []
    assert resources.open == []


async def test_at_the_end_all_are_closed_at_once() -> None:
    resources = Resources()
    async with Generations(resources.pause) as generations:
        for name in ("first", "second", "third"):
            await generations.open(resources.resource(name), 7)
        assert len(resources.open) == 3
    assert resources.open == []


async def test_one_that_cannot_be_closed_keeps_none_of_the_others_open() -> None:
    closed: list[str] = []

    @asynccontextmanager
    async def resource(name: str) -> AsyncIterator[str]:
        yield name
        closed.append(name)
        if name == "broken":
            raise OSError("cannot be closed")

    async def for_ever(_seconds: float) -> None:
        await asyncio.Event().wait()

    generations = Generations(for_ever)
    await generations.__aenter__()
    for name in ("first", "broken", "last"):
        await generations.open(resource(name), 1)
    with pytest.raises(OSError, match="cannot be closed"):
        await generations.__aexit__()
    assert sorted(closed) == ["broken", "first", "last"]
