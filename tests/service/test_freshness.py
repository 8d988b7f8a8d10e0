"""No answer rests on a reading of LiveKit that began before its caller came, however calls and changes mix.

Every room carries a version that only grows. A reading takes its answer at the moment when it begins, so the
versions in an answer tell how old the reading was that it rests on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.models import ParticipantInfo

from service.auth.principal import AllRooms, OneTenant, TenantId
from service.batches import Asker
from service.consistency import Consistency
from service.directory import Directory
from service.errors import LiveKitUnavailable
from service.ownership import owner_of
from service.servicer import room_summary
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.held_livekit import HeldLiveKit
from tests.service.recorded_rooms import room

TENANTS = ("acme", "globex")
NAMES = ("a", "b")


@dataclass
class World:
    """LiveKit with rooms of one version, and the directory in front of it."""

    livekit: HeldLiveKit
    directory: Directory
    version: int = 0

    def change(self) -> None:
        """Gives every room and participant the next version, and each room to the other tenant."""
        self.version += 1
        for number, name in enumerate(NAMES):
            owner = TENANTS[(number + self.version) % 2]
            self.livekit.rooms[name] = room(name, owner, num_participants=self.version)
            self.livekit.participants[name] = [ParticipantInfo(joined_at=self.version)]

    async def listed(self, tenant: str | None, consistency: Consistency) -> list[int]:
        scope = AllRooms() if tenant is None else OneTenant(TenantId(tenant))
        rooms = await self.directory.rooms(scope, consistency)
        page = pb.ListRoomsResponse.FromString(b"".join(room.summary for room in rooms))
        for summary in page.rooms:
            if tenant is not None:  # whose it was at that version
                assert TENANTS[(NAMES.index(summary.name) + summary.num_participants) % 2] == tenant
        return [summary.num_participants for summary in page.rooms]

    async def named(self, name: str) -> list[int]:
        found = await self.directory.room(name, Asker(AllRooms()))
        assert found is not None
        return [found.room.num_participants]

    async def inside(self, name: str) -> list[int]:
        return [person.joined_at for person in await self.directory.participants(name, TenantId("acme"))]


Question = Callable[[World], Awaitable[list[int]]]


def list_of(tenant: str | None, consistency: Consistency) -> Question:
    return lambda world: world.listed(tenant, consistency)


QUESTIONS: dict[str, Question] = {
    **{
        f"{consistency.value} list of {tenant or 'all'}": list_of(tenant, consistency)
        for tenant in (*TENANTS, None)
        for consistency in Consistency
    },
    "room a": lambda world: world.named("a"),
    "room b": lambda world: world.named("b"),
    "participants of a": lambda world: world.inside("a"),
    "participants of b": lambda world: world.inside("b"),
}


def new_world() -> World:
    livekit = HeldLiveKit()
    world = World(livekit, Directory(livekit, owner_of, room_summary, index_interval=3_600))
    world.change()
    return world


async def settle() -> None:
    """Lets everything happen that can happen without a reading that lands."""
    for _ in range(20):
        await asyncio.sleep(0)


ACTIONS = st.lists(
    st.tuples(st.sampled_from([*QUESTIONS, "leave", "change", "land", "land", "fail"]), st.integers(0, 3)),
    max_size=60,
)


@given(ACTIONS)
async def test_every_answer_is_at_least_as_new_as_its_call(actions: list[tuple[str, int]]) -> None:
    world = new_world()
    readings = world.livekit.readings
    asked: list[tuple[int, asyncio.Future[list[int]]]] = []
    for action, number in actions:
        flying = [reading for reading in readings if not reading.landed.done()]
        waiting = [answer for _, answer in asked if not answer.done()]
        if action in QUESTIONS:
            asked.append((world.version, asyncio.ensure_future(QUESTIONS[action](world))))
        elif action == "change":
            world.change()
        elif action == "leave":
            for answer in waiting[number : number + 1]:
                answer.cancel()
        else:
            for reading in flying[number : number + 1]:
                reading.land(LiveKitUnavailable("down") if action == "fail" else None)
        await settle()
    while any(not answer.done() for _, answer in asked):
        for reading in readings:
            reading.land()
        await settle()
    await world.directory.close()
    for version, answer in asked:
        if not answer.cancelled() and not isinstance(answer.exception(), LiveKitUnavailable):
            assert all(version <= seen <= world.version for seen in answer.result())
    assert all(reading.landed.done() or reading.aborted for reading in readings)


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
async def test_who_comes_while_a_reading_is_under_way_gets_the_next_one(
    question: Question,
) -> None:
    world = new_world()
    early = asyncio.ensure_future(question(world))
    first = await world.livekit.until(1)
    world.change()
    late = asyncio.ensure_future(question(world))
    await settle()
    first.land()
    await settle()
    for reading in world.livekit.readings:
        reading.land()
    assert set(await early) == {1}
    while not late.done():
        await settle()
        for reading in world.livekit.readings:
            reading.land()
    assert set(late.result()) == {2}
    await world.directory.close()
