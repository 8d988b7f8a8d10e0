"""Owns lists at the price of a tenant's own rooms: names that are known from before, each verified now.

Step before: `service.directory`, for `Consistency.MINIMIZE_LATENCY`. Step after: `service.livekit` by name,
or `service.scans` where too little is known.

What is shown was read within the call. Only a room that came to the tenant since the last whole reading can
be missing, until the next one; so while this is in use, whole readings are made in the background.
"""

import asyncio
import contextvars
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from time import monotonic
from typing import Final

import structlog

from service.auth.principal import OneTenant, TenantId
from service.batches import Asker, Batches, FailedAsAWhole
from service.errors import DomainError, LiveKitFailed
from service.flights import Flights
from service.named_rooms import NamedRoomsSource
from service.ownership import may_see
from service.room_index import ListedRoom, SortedRooms
from service.room_records import by_asked_name
from service.scans import Scan, Scans

_MOST_NAMES: Final = 2_000
"""In one question: at most 512 KiB of names."""

_FEW_NAMES: Final = 250
"""Up to which a tenant's list is verified together with those of others; with more it waits for nobody."""

_REST: Final = 9
"""The pause between background readings, as a multiple of the last one's length: a tenth of the time."""

_IDLE_SECONDS: Final = 60.0
"""How long after the last use whole readings still go on in the background."""

_log = structlog.get_logger(__name__)

_name = attrgetter("name")


class Candidates:
    """Lists one tenant's rooms from the names that it had at the last whole reading.

    Args:
        source: who is asked about names.
        scans: makes whole readings; those that others ask for count too.
        interval: seconds between two readings in the background, at least.
    """

    def __init__(self, source: NamedRoomsSource, scans: Scans, interval: float) -> None:
        self._source = source
        self._scans = scans
        self._interval = interval
        self._together: Batches[TenantId, Sequence[ListedRoom]] = Batches(
            self._verify_together, self._in_parts
        )
        self._alone: Flights[TenantId, Sequence[ListedRoom]] = Flights(self._verify_alone)
        self._last_use = 0.0
        self._background: asyncio.Task[None] | None = None

    async def rooms(self, scope: OneTenant) -> Sequence[ListedRoom]:
        """The rooms of this tenant, sorted by name, each as of a reading that begins after this call.

        A room that became the tenant's after the last whole reading began may be missing. That reading is
        never older than twice the pause between two of them and the time that one takes.

        Raises:
            LiveKitUnavailable, LiveKitFailed: LiveKit could not say.
        """
        self._last_use = monotonic()
        if self._background is None or self._background.done():
            # In an empty context, as it belongs to no one caller.
            self._background = asyncio.create_task(self._keep_reading(), context=contextvars.Context())
        known = self._known()
        if known is None:
            return await (await self._scans.next()).index.rooms(scope)
        if len(await known.index.rooms(scope)) <= _FEW_NAMES:
            return await self._together.find(scope.tenant_id, Asker(scope))
        return await self._alone.join(scope.tenant_id)

    async def close(self) -> None:
        """Ends the readings in the background."""
        if self._background is not None:
            self._background.cancel()
            await asyncio.wait({self._background})

    def _known(self) -> Scan | None:
        """The last whole reading, if it is recent enough to take names from."""
        latest = self._scans.latest
        if latest is None or monotonic() - latest.began > 2 * (self._pause(latest) + latest.seconds):
            return None
        return latest

    def _pause(self, latest: Scan) -> float:
        return max(self._interval, _REST * latest.seconds)

    async def _verify_alone(self, tenant_id: TenantId) -> Sequence[ListedRoom]:
        known = self._known()
        if known is None:
            return await (await self._scans.next()).index.rooms(OneTenant(tenant_id))
        return (await self._verify(known, [tenant_id]))[tenant_id]

    async def _verify_together(self, tenant_ids: Sequence[TenantId]) -> dict[TenantId, Sequence[ListedRoom]]:
        known = self._known()
        if known is not None:
            return await self._verify(known, tenant_ids)
        # It was recent enough a moment ago, when these came.
        try:
            index = (await self._scans.next()).index
        except LiveKitFailed as error:
            raise FailedAsAWhole(error) from error
        return {tenant_id: await index.rooms(OneTenant(tenant_id)) for tenant_id in tenant_ids}

    async def _verify(
        self, known: Scan, tenant_ids: Sequence[TenantId]
    ) -> dict[TenantId, Sequence[ListedRoom]]:
        """The rooms of these tenants, sorted by name: of those known, what they are now."""
        scopes = [OneTenant(tenant_id) for tenant_id in tenant_ids]
        candidates = {scope: [room.name for room in await known.index.rooms(scope)] for scope in scopes}
        names = [*dict.fromkeys(chain.from_iterable(candidates.values()))]
        found: dict[str, ListedRoom] = {}
        for start in range(0, len(names), _MOST_NAMES):
            part = names[start : start + _MOST_NAMES]
            records = await self._source.list_rooms_named(part)
            found |= by_asked_name(part, await known.index.recognized(records), _name)
        # In the order of the names, which are sorted.
        return {
            scope.tenant_id: SortedRooms(
                found[name]
                for name in dict.fromkeys(own)
                if name in found and may_see(scope, found[name].owner)
            )
            for scope, own in candidates.items()
        }

    def _in_parts(self, tenant_ids: Sequence[TenantId]) -> Sequence[Sequence[TenantId]]:
        """As many tenants together as have names for one question."""
        known = self._known()
        parts: list[list[TenantId]] = []
        left = 0
        for tenant_id in tenant_ids:
            names = known.index.count(tenant_id) if known is not None else 0
            if not parts or names > left:
                parts.append([])
                left = _MOST_NAMES
            parts[-1].append(tenant_id)
            left -= names
        return parts

    async def _keep_reading(self) -> None:
        """Reads all rooms again and again while lists of this kind are asked for."""
        while monotonic() - self._last_use <= _IDLE_SECONDS:
            latest = self._scans.latest
            wait = self._interval
            if latest is not None:
                wait = latest.began + latest.seconds + self._pause(latest) - monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            try:
                await self._scans.next()
            except DomainError as error:
                _log.warning("background reading failed", error=type(error).__name__, detail=str(error))
                await asyncio.sleep(self._interval)
