"""Owns the use cases: list the rooms, get one room. The masking of rooms that are not the caller's is here.

Step before: `service.servicer` has decoded the request. Step after: `service.directory` knows the rooms.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from livekit.protocol.models import Room

from service.auth.principal import Principal, Scope, scope_of
from service.batches import Asker
from service.consistency import Consistency
from service.errors import DomainError, RoomNameBlank, RoomNameTooLong, RoomNotFound
from service.named_rooms import OwnedRoom
from service.ownership import Owner, may_see, same_owner
from service.paging import check_page_token, checked_page_size, cut_page
from service.participants import Participants
from service.room_index import ListedRoom

MAX_ROOM_NAME_BYTES: Final = 256
"""LiveKit's own limit."""


class RoomDirectory(Protocol):
    """What is known of LiveKit's rooms: `service.directory`."""

    async def rooms(self, scope: Scope, consistency: Consistency) -> Sequence[ListedRoom]:
        """The rooms that this scope may see, sorted by name."""
        ...

    async def room(self, name: str, asker: Asker) -> OwnedRoom | None:
        """The room of this name, whoever owns it, read by a reading that begins after this call."""
        ...

    async def participants(self, room_name: str, owner: Owner) -> Participants:
        """Who is in the room of this name; RoomNotFound, or nobody, where there is none."""
        ...


class MaskedAnswers(Protocol):
    """When masked answers, and those beside them, leave: `service.even_answers`."""

    async def leave(self, began: float) -> None:
        """Returns when such an answer to a call that began then, by `time.monotonic()`, may leave."""
        ...


class RoomPage(NamedTuple):
    """Rooms sorted by name, and the token of the next page; empty when this is the last."""

    rooms: Sequence[ListedRoom]
    next_page_token: str


class RoomDetails(NamedTuple):
    """A room and who is in it, both shared with other callers who asked at the same time."""

    owned: OwnedRoom
    participants: Participants

    @property
    def room(self) -> Room:
        """The room."""
        return self.owned.room


class Rooms:
    """What callers can ask about rooms.

    Every method may also raise LiveKitNotConfigured, LiveKitUnavailable or LiveKitFailed.

    Args:
        directory: knows the rooms.
        default_consistency: what a list without a wish of its own gets.
        masked_answers: knows when a masked answer, or one beside it, may leave.
    """

    def __init__(
        self, directory: RoomDirectory, default_consistency: Consistency, masked_answers: MaskedAnswers
    ) -> None:
        self._directory = directory
        self._default_consistency = default_consistency
        self._masked_answers = masked_answers

    async def list(
        self,
        principal: Principal,
        tenant_id: str | None,
        page_size: int,
        page_token: str,
        consistency: Consistency | None,
    ) -> RoomPage:
        """One page of the rooms that this caller may see, acting for `tenant_id` where it is given.

        Raises:
            TenantIdBlank, OperatorOnly, PageSizeInvalid, PageTokenInvalid: before anything is looked up.
        """
        scope = scope_of(principal, tenant_id)
        page_size = checked_page_size(page_size)
        consistency = consistency or self._default_consistency
        check_page_token(page_token, scope, consistency)

        rooms = await self._directory.rooms(scope, consistency)
        page, next_page_token = cut_page(rooms, page_size, page_token, scope, consistency)
        return RoomPage(page, next_page_token)

    async def get(self, principal: Principal, tenant_id: str | None, room_name: str) -> RoomDetails:
        """One room with its participants, both of the same life of the room and under the same owner.

        A room that is absent, another tenant's or nobody's costs the same upstream call and raises the
        same error after the same time: participants are asked for only once the room is known to be the
        caller's. As the room can be recreated or given away before they arrive, it is read once more
        after they did. An answer that shared a question with a masked one takes such a time, too, and so
        does what the same tenant is shown meanwhile.

        Raises:
            TenantIdBlank, OperatorOnly, RoomNameBlank, RoomNameTooLong: before anything is looked up.
            RoomNotFound: there is no such room for this caller.
        """
        scope = scope_of(principal, tenant_id)
        _check_room_name(room_name)

        asker = Asker(scope)
        details: RoomDetails | None = None
        try:
            details = await self._details(asker, room_name)
        except RoomNotFound:
            pass  # it keeps what was read, which has to go before the wait, not after
        except DomainError:
            if asker.beside_masked:
                await self._masked_answers.leave(asker.began)
            raise
        if details is None or asker.beside_masked:
            await self._masked_answers.leave(asker.began)
        if details is None:
            raise RoomNotFound
        return details

    async def _details(self, asker: Asker, room_name: str) -> RoomDetails:
        before = await self._visible_room(asker, room_name)
        participants = await self._directory.participants(room_name, before.owner)
        if not participants:
            return RoomDetails(before, participants)
        after = await self._visible_room(asker, room_name)
        if after.room.sid != before.room.sid or not same_owner(after.owner, before.owner):
            raise RoomNotFound
        return RoomDetails(after, participants)

    async def _visible_room(self, asker: Asker, room_name: str) -> OwnedRoom:
        owned = await self._directory.room(room_name, asker)
        if owned is None or not may_see(asker.scope, owned.owner):
            raise RoomNotFound
        return owned


def _check_room_name(room_name: str) -> None:
    if not room_name.strip():
        raise RoomNameBlank
    if len(room_name.encode()) > MAX_ROOM_NAME_BYTES:
        raise RoomNameTooLong
