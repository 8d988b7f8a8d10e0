"""Whole readings: what is kept of one, who is told, and that a failure leaves the last good one as it was."""

import asyncio
from collections.abc import Sequence

import pytest

from service.auth.principal import AllRooms
from service.errors import LiveKitUnavailable
from service.ownership import owner_of
from service.room_index import RoomIndex
from service.scans import Scan, Scans
from service.servicer import room_summary
from tests.service.held_livekit import HeldLiveKit
from tests.service.recorded_rooms import RecordedLiveKit, room


async def names(scan: Scan) -> Sequence[str]:
    return [listed.name for listed in await scan.index.rooms(AllRooms())]


async def test_a_reading_says_when_it_began_and_how_long_it_took_and_each_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("service.scans.monotonic", lambda: now)

    class Slow(RecordedLiveKit):
        async def list_all_rooms(self) -> list[bytes]:
            nonlocal now
            now += 3
            return await super().list_all_rooms()

    told: list[Scan] = []
    scans = Scans(Slow(room("a", "acme")), RoomIndex(owner_of, room_summary), told.append)
    first = await scans.next()
    assert (first.began, first.seconds) == (100, 3)
    second = await scans.next()
    assert (second.began, second.seconds) == (103, 3)
    assert scans.latest is second
    assert told == [first, second]


async def test_who_comes_during_a_reading_shares_the_next_one() -> None:
    livekit = HeldLiveKit(room("a", "acme"))
    scans = Scans(livekit, RoomIndex(owner_of, room_summary))
    early = asyncio.create_task(scans.next())
    in_the_air = await livekit.until(1)
    late = [asyncio.create_task(scans.next()) for _ in range(3)]
    await asyncio.sleep(0)
    livekit.rooms["b"] = room("b", "acme")
    in_the_air.land()
    assert await names(await early) == ["a"]
    (await livekit.until(2)).land()
    shared = await asyncio.gather(*late)
    assert shared[0] is shared[1] is shared[2]
    assert await names(shared[0]) == ["a", "b"]


async def test_a_failed_reading_changes_nothing_and_the_next_caller_asks_anew() -> None:
    livekit = RecordedLiveKit(room("a", "acme"))
    told: list[Scan] = []
    scans = Scans(livekit, RoomIndex(owner_of, room_summary), told.append)
    first = await scans.next()
    livekit.failures[2] = LiveKitUnavailable("down")
    livekit.put(room("b", "acme"))
    with pytest.raises(LiveKitUnavailable):
        await scans.next()
    assert scans.latest is first
    assert told == [first]
    assert await names(await scans.next()) == ["a", "b"]
