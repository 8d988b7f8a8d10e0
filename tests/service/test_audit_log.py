"""Where audit records go: a file or stderr, one line each, and what happens when they cannot go there."""

import asyncio
import json
import logging
import os
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service import audit_log
from service.audit_log import AuditLog, NotRecorded, open_audit_log
from service.start_errors import AuditLogUnusable


def records(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


async def test_records_are_appended_to_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path, told = tmp_path / "audit.log", list[bool]()
    for number in "12":
        async with open_audit_log(path, told.append) as log:
            await log.write({"number": number, "room_name": 'a "quote"\n{"log": "forged"}\u2028\x1b[2J'})
    assert [record["number"] for record in records(path)] == ["1", "2"]
    assert records(path)[0]["room_name"] == 'a "quote"\n{"log": "forged"}\u2028\x1b[2J'
    assert len(path.read_bytes().splitlines()) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert told == [True, True]


async def test_the_mode_of_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text('{"number": "0"}\n')
    path.chmod(0o640)
    async with open_audit_log(path, lambda _: None) as log:
        await log.write({"number": "1"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [record["number"] for record in records(path)] == ["0", "1"]


@pytest.mark.parametrize("how", ["moved away", "removed", "replaced"])
async def test_a_file_that_was_rotated_is_opened_anew(tmp_path: Path, how: str) -> None:
    path, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    async with open_audit_log(path, lambda _: None) as log:
        await log.write({"number": "1"})
        if how == "removed":
            path.unlink()
        else:
            path.rename(old)
        if how == "replaced":
            path.touch(0o640)
        await log.write({"number": "2"})
    assert [record["number"] for record in records(path)] == ["2"]
    assert stat.S_IMODE(path.stat().st_mode) == (0o640 if how == "replaced" else 0o600)


async def test_a_file_that_cannot_be_opened_keeps_the_service_from_starting(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent" / "audit.log", tmp_path / ("x" * 300)):
        with pytest.raises(AuditLogUnusable, match="TENANTROOMS_AUDIT_LOG"):
            async with open_audit_log(path, lambda _: None):
                pass


async def test_without_a_file_records_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    async with open_audit_log(None, lambda _: None) as log:
        await log.write({"log": "audit"})
    assert capfd.readouterr() == ("", '{"log": "audit"}\n')


async def test_a_record_that_cannot_be_written_is_an_error_and_is_told(tmp_path: Path) -> None:
    path, told = tmp_path / "audit.log", list[bool]()
    async with open_audit_log(path, told.append) as log:
        path.unlink()
        path.mkdir()
        with capture_logs() as logs:
            for _ in range(2):
                with pytest.raises(NotRecorded):
                    await log.write({"number": "1"})
        path.rmdir()
        await log.write({"number": "2"})  # mended
    assert [record["number"] for record in records(path)] == ["2"]
    assert told == [False, False, True]
    assert {(entry["event"], entry["log_level"]) for entry in logs} == {
        ("the audit log could not be written", "error")
    }


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs a device that is always full")
async def test_a_full_disk_is_an_error_each_time_and_holds_nothing_back() -> None:
    told: list[bool] = []
    async with open_audit_log(Path("/dev/full"), told.append) as log:
        for _ in range(3):
            with pytest.raises(NotRecorded):
                await log.write({"number": "1"})
    assert told == [False] * 3


class Stuck(logging.Handler):
    """A handler that hangs until a test lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.fails = False
        self.reached = threading.Event()
        self.free = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.reached.set()
        self.free.wait()
        if self.fails:
            raise OSError("canary")
        self.lines.append(record.getMessage())


@pytest.fixture
async def stuck() -> AsyncIterator[Stuck]:
    handler = Stuck()
    yield handler
    handler.free.set()


async def test_a_disk_that_hangs_holds_up_nobody_else_and_nobody_for_ever(stuck: Stuck) -> None:
    told: list[bool] = []
    log = AuditLog(stuck, told.append, seconds=0.01)
    log.write_unawaited({"number": "1"})
    await asyncio.to_thread(stuck.reached.wait)
    with pytest.raises(NotRecorded):  # the event loop runs on meanwhile, or this would never end
        await log.write({"number": "2"})
    stuck.free.set()
    await asyncio.to_thread(log.close)
    assert stuck.lines == ['{"number": "1"}']  # what was not begun yet is not written later
    assert told == [False, True]


async def test_a_record_is_written_although_its_caller_leaves_while_it_waits(stuck: Stuck) -> None:
    told: list[bool] = []
    log = AuditLog(stuck, told.append)
    writing = [asyncio.create_task(log.write({"number": str(number)})) for number in range(3)]
    await asyncio.to_thread(stuck.reached.wait)
    for task in writing:
        task.cancel()
    await asyncio.wait(writing)
    assert [task.cancelled() for task in writing] == [True] * 3
    assert told == []
    stuck.free.set()
    await asyncio.to_thread(log.close)
    assert stuck.lines == [f'{{"number": "{number}"}}' for number in range(3)]
    assert told == [True] * 3


async def test_a_record_that_cannot_be_written_after_its_caller_left_is_told(stuck: Stuck) -> None:
    told: list[bool] = []
    stuck.fails = True
    log = AuditLog(stuck, told.append)
    writing = asyncio.create_task(log.write({}))
    await asyncio.to_thread(stuck.reached.wait)
    writing.cancel()
    await asyncio.wait([writing])
    stuck.free.set()
    with capture_logs() as logs:
        await asyncio.to_thread(log.close)
    assert told == [False]
    assert [entry["event"] for entry in logs] == ["the audit log could not be written"]


async def test_only_so_many_records_wait(stuck: Stuck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "MOST_WAITING", 2)
    told: list[bool] = []
    log = AuditLog(stuck, told.append)
    for _ in range(3):
        log.write_unawaited({})
    assert told == [False]
    with pytest.raises(NotRecorded):
        await log.write({})
    assert told == [False, False]
    stuck.free.set()
    await asyncio.to_thread(log.close)
    assert told == [False, False, True, True]


async def test_records_are_written_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    async with open_audit_log(path, lambda _: None) as log:
        for number in range(100):
            log.write_unawaited({"number": str(number)})
    assert [record["number"] for record in records(path)] == [str(number) for number in range(100)]
