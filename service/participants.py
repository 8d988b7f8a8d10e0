"""Owns the participants of one room as LiveKit gave them at one moment, for all callers that share them.

Step before: `service.directory` has asked for them. Step after: `service.servicer` makes answers of them.
"""

from collections.abc import Iterable

from livekit.protocol.models import ParticipantInfo


class Participants(list[ParticipantInfo]):
    """Participants in LiveKit's order. Not to be changed, as callers share them.

    Attributes:
        shown: what answers show of them, encoded, once one of these has made it; opaque here.
    """

    __slots__ = ("shown",)

    def __init__(self, participants: Iterable[ParticipantInfo] = ()) -> None:
        super().__init__(participants)
        self.shown: bytes | None = None
