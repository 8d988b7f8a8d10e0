"""Owns the sharing of whole readings: concurrent callers wait for one scan that began after they came.

Step before: `service.directory` or `service.candidates` needs all rooms as they are now. Step after:
`service.livekit` reads them, and `service.room_index` takes them in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from service.flights import Flights
from service.room_index import RoomIndex


class AllRoomsSource(Protocol):
    """Where all rooms come from: `service.livekit.LiveKit`."""

    async def list_all_rooms(self) -> Sequence[bytes]:
        """The record of every room of the deployment, in no order."""
        ...


@dataclass(frozen=True, slots=True)
class Scan:
    """One whole reading.

    Attributes:
        index: what was read.
        began: when the reading began, on the monotonic clock.
        seconds: how long it took, all of it.
    """

    index: RoomIndex
    began: float
    seconds: float


class Scans:
    """Reads all rooms, once for all who came before that reading began.

    Args:
        source: who is asked.
        nothing: an index without rooms, from which the first reading starts.
        observe: is told of each reading that succeeded.

    Attributes:
        latest: the last reading that succeeded; None before there is one.
    """

    def __init__(
        self, source: AllRoomsSource, nothing: RoomIndex, observe: Callable[[Scan], None] = lambda _: None
    ) -> None:
        self._source = source
        self._index = nothing
        self._observe = observe
        self._flights: Flights[None, Scan] = Flights(self._scan, patient=True, in_company=True)
        self.latest: Scan | None = None

    async def next(self) -> Scan:
        """A reading that begins after this call.

        Raises:
            LiveKitUnavailable, LiveKitFailed: LiveKit could not say. The next caller asks anew.
        """
        return await self._flights.join(None)

    async def _scan(self, _key: None) -> Scan:
        began = monotonic()
        self._index = await self._index.updated(await self._source.list_all_rooms())
        self.latest = Scan(self._index, began, monotonic() - began)
        self._observe(self.latest)
        return self.latest
