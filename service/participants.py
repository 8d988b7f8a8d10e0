"""Owns the participants of one room as LiveKit gave them at one moment, for all callers that share them.

Step before: `service.directory` has asked for them. Step after: `service.servicer` makes answers of them.
"""

import asyncio
from collections.abc import Iterable

from livekit.protocol.models import ParticipantInfo


class Participants(list[ParticipantInfo]):
    """Participants in LiveKit's order. Not to be changed, as callers share them.

    Attributes:
        at_work: held by the one caller that makes what follows, in turns with other calls.
        size: about how many bytes that is, once one of them has found out.
        shown: what answers show of them, encoded, once one of them has made it; opaque here.
    """

    __slots__ = ("at_work", "shown", "size")

    def __init__(self, participants: Iterable[ParticipantInfo] = ()) -> None:
        super().__init__(participants)
        self.at_work = asyncio.Lock()
        self.size: int | None = None
        self.shown: bytes | None = None
