"""Ten tenants' rooms on a real LiveKit, some of which change all the time, and who owned which when."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from livekit.protocol import models

from tests.support.real_livekit import RealLiveKit
from tests.support.redis_server import RedisServer
from tests.wall.lives import mark, owned_by, people_of

TENANTS = [f"tenant-{number}" for number in range(10)]
NOBODY = "nobody"
FOREVER = float("inf")


@dataclass(frozen=True)
class Shown:
    """A room that an answer showed to a tenant, and between which moments the call was made."""

    tenant: str
    name: str
    sid: str | None
    """None where the answer does not say it, as in a list over REST."""
    began: float
    ended: float


@dataclass
class _Tenure:
    sid: str
    owner: str
    begins: float
    ends: float = FOREVER


@dataclass
class Ledger:
    """Who owned each life of each room, from before LiveKit was told until it showed the next owner."""

    _tenures: defaultdict[str, list[_Tenure]] = field(default_factory=lambda: defaultdict(list))

    def begins(self, name: str, sid: str, owner: str, since: float) -> None:
        """This life of the room is this tenant's from then on."""
        self._tenures[name].append(_Tenure(sid, owner, since))

    def ends(self, name: str, sid: str, owner: str) -> None:
        """It has just ceased to be."""
        for tenure in self._tenures[name]:
            if (tenure.sid, tenure.owner) == (sid, owner) and tenure.ends == FOREVER:
                tenure.ends = time.monotonic()

    def allows(self, shown: Shown) -> bool:
        """Whether the room was the tenant's at some moment of the call."""
        return any(
            tenure.owner == shown.tenant
            and shown.sid in (None, tenure.sid)
            and tenure.begins <= shown.ended
            and tenure.ends >= shown.began
            for tenure in reversed(self._tenures.get(shown.name, ()))
        )


class Landlord(Protocol):
    """Makes, gives away and removes rooms."""

    async def make(self, name: str, owner: str, metadata: str) -> str:
        """Makes a room that is not there; gives its sid."""
        ...

    async def give(self, name: str, sid: str, owner: str) -> None:
        """Gives it to another owner, and returns once LiveKit shows so."""
        ...

    async def remove(self, name: str) -> None:
        """Removes it."""
        ...


class Creates:
    """Over LiveKit's own API."""

    def __init__(self, livekit: RealLiveKit) -> None:
        self._livekit = livekit

    async def make(self, name: str, owner: str, metadata: str) -> str:
        return (await self._livekit.create_room(name, metadata=metadata)).sid

    async def give(self, name: str, sid: str, owner: str) -> None:
        await self._livekit.set_metadata(name, owned_by(owner))

    async def remove(self, name: str) -> None:
        await self._livekit.delete_room(name)


class Stores:
    """In LiveKit's Redis, with participants in every room."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis
        self._lives = 0

    async def make(self, name: str, owner: str, metadata: str) -> str:
        self._lives += 1
        sid = f"RM_{self._lives}"
        await self._put(name, sid, owner, metadata)
        return sid

    async def give(self, name: str, sid: str, owner: str) -> None:
        await self._put(name, sid, owner, owned_by(owner))

    async def remove(self, name: str) -> None:
        await self._redis.remove_rooms([name])

    async def _put(self, name: str, sid: str, owner: str, metadata: str) -> None:
        room = models.Room(
            name=name, sid=sid, metadata=metadata, creation_time=1_700_000_000, num_participants=2
        )
        await self._redis.replace_room(room, people_of(owner, sid))


class Estate:
    """All the rooms.

    Args:
        landlord: makes them.
        rooms: how many in all: nine tenths are a tenant's for good, the rest nobody's or ever changing.
    """

    def __init__(self, landlord: Landlord, rooms: int) -> None:
        self.ledger = Ledger()
        self.lasting: dict[str, dict[str, str]] = {tenant: {} for tenant in TENANTS}
        """For each tenant the names of its rooms, with their sids."""
        self.ownerless = [f"{mark(NOBODY)} {number:03}" for number in range(rooms // 20)]
        self.changing = [f"changing-{number:03}" for number in range(rooms // 20)]
        self._per_tenant = rooms * 9 // 10 // len(TENANTS)
        self._landlord = landlord
        self.changes = 0
        self._stopped = False

    @property
    def names(self) -> list[str]:
        """The names of all rooms that there may be."""
        lasting = [name for rooms in self.lasting.values() for name in rooms]
        return [*lasting, *self.ownerless, *self.changing]

    async def build(self) -> None:
        """Makes what lasts."""
        gate = asyncio.Semaphore(32)

        async def lasting(tenant: str, number: int) -> None:
            name = f"{mark(tenant)} {number:03}"
            since = time.monotonic()
            async with gate:
                sid = await self._landlord.make(name, tenant, owned_by(tenant))
            self.lasting[tenant][name] = sid
            self.ledger.begins(name, sid, tenant, since)

        async def ownerless(name: str) -> None:
            async with gate:
                await self._landlord.make(name, NOBODY, f'{{"auth_id":["{mark(NOBODY)}"]}}')

        async with asyncio.TaskGroup() as builders:
            for tenant in TENANTS:
                for number in range(self._per_tenant):
                    builders.create_task(lasting(tenant, number))
            for name in self.ownerless:
                builders.create_task(ownerless(name))

    def stop(self) -> None:
        """Ends all changes."""
        self._stopped = True

    async def keep_changing(self, names: Sequence[str], pause: float) -> None:
        """Makes these rooms, gives them away and removes them, one after the other, until `stop`."""
        while not self._stopped:
            for name in names:
                first, second = random.sample(TENANTS, 2)
                since = time.monotonic()
                sid = await self._landlord.make(name, first, owned_by(first))
                self.ledger.begins(name, sid, first, since)
                await asyncio.sleep(random.uniform(0, pause))
                self.ledger.begins(name, sid, second, time.monotonic())
                await self._landlord.give(name, sid, second)
                self.ledger.ends(name, sid, first)
                await asyncio.sleep(random.uniform(0, pause))
                await self._landlord.remove(name)
                self.ledger.ends(name, sid, second)
                self.changes += 3
