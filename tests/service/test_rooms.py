"""Who sees which rooms, what stays masked, and after which questions to LiveKit."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.models import ParticipantInfo, Room

from service.auth.principal import Anonymous, Operator, Principal, Tenant, TenantId
from service.consistency import Consistency
from service.errors import (
    DomainError,
    LiveKitFailed,
    LiveKitNotConfigured,
    LiveKitTimedOut,
    LiveKitUnavailable,
    OperatorOnly,
    PageSizeInvalid,
    PageTokenInvalid,
    RoomNameBlank,
    RoomNameTooLong,
    RoomNotFound,
    TenantIdBlank,
)
from service.rooms import RoomDetails, Rooms
from tests.service.recorded_rooms import AtOnce, RecordedLiveKit, room

ACME = Tenant(TenantId("acme"))
OPERATOR = Operator("on-call")
ANONYMOUS = Anonymous()
EVERYBODY = [ACME, OPERATOR, ANONYMOUS]

OWN, FOREIGN, OWNERLESS, ABSENT = "own", "foreign", "ownerless", "absent"
ALL = {OWN, FOREIGN, OWNERLESS}
SOMEBODY = [ParticipantInfo(sid="PA_1", identity="somebody")]


@pytest.fixture
def livekit() -> RecordedLiveKit:
    """A room of each kind, somebody in each."""
    livekit = RecordedLiveKit(room(OWN, "acme"), room(FOREIGN, "globex"), room(OWNERLESS))
    livekit.participants = dict.fromkeys(ALL, SOMEBODY)
    return livekit


@pytest.fixture
def rooms(livekit: RecordedLiveKit) -> Rooms:
    return Rooms(livekit.directory, Consistency.FULL, AtOnce())


async def names(rooms: Rooms, principal: Principal, tenant_id: str | None = None) -> list[str]:
    page = await rooms.list(principal, tenant_id, 0, "", None)
    assert page.next_page_token == ""
    return [room.name for room in page.rooms]


WHO_SEES_WHAT: list[tuple[Principal, str | None, set[str] | type[DomainError]]] = [
    # caller    tenant_id    what is in the list, and given one by one
    (ACME,      None,        {OWN}),
    (ACME,      "acme",      {OWN}),
    (ACME,      "globex",    OperatorOnly),
    (ACME,      "ACME",      OperatorOnly),
    (ACME,      " ",         TenantIdBlank),
    (OPERATOR,  None,        ALL),
    (OPERATOR,  "acme",      {OWN}),
    (OPERATOR,  "globex",    {FOREIGN}),
    (OPERATOR,  "nobody",    set()),
    (OPERATOR,  "",          TenantIdBlank),
    (ANONYMOUS, None,        ALL),
    (ANONYMOUS, "acme",      {OWN}),
    (ANONYMOUS, "globex",    {FOREIGN}),
    (ANONYMOUS, "nobody",    set()),
    (ANONYMOUS, "",          TenantIdBlank),
]  # fmt: skip


@pytest.mark.parametrize(("principal", "tenant_id", "visible"), WHO_SEES_WHAT)
async def test_who_sees_what(
    rooms: Rooms,
    livekit: RecordedLiveKit,
    principal: Principal,
    tenant_id: str | None,
    visible: set[str] | type[DomainError],
) -> None:
    if isinstance(visible, type):
        with pytest.raises(visible):
            await rooms.list(principal, tenant_id, 0, "", None)
        for name in (OWN, FOREIGN, OWNERLESS, ABSENT):
            with pytest.raises(visible):
                await rooms.get(principal, tenant_id, name)
        assert livekit.asked == []
        return
    assert await names(rooms, principal, tenant_id) == sorted(visible)
    for name in (OWN, FOREIGN, OWNERLESS, ABSENT):
        if name in visible:
            details = await rooms.get(principal, tenant_id, name)
            assert (details.room.name, details.participants) == (name, SOMEBODY)
        else:
            with pytest.raises(RoomNotFound):
                await rooms.get(principal, tenant_id, name)


MASKED: list[tuple[Principal, str | None, str]] = [
    (ACME, None, ABSENT),
    (ACME, None, FOREIGN),
    (ACME, None, OWNERLESS),
    (ACME, "acme", FOREIGN),
    (OPERATOR, None, ABSENT),
    (OPERATOR, "acme", FOREIGN),
    (OPERATOR, "acme", OWNERLESS),
    (ANONYMOUS, None, ABSENT),
    (ANONYMOUS, "acme", FOREIGN),
]


@pytest.mark.parametrize(("principal", "tenant_id", "name"), MASKED)
async def test_a_masked_room_costs_one_question_by_name_and_none_about_participants(
    rooms: Rooms, livekit: RecordedLiveKit, principal: Principal, tenant_id: str | None, name: str
) -> None:
    with pytest.raises(RoomNotFound):
        await rooms.get(principal, tenant_id, name)
    assert livekit.asked == [("rooms", (name,))]


@pytest.mark.parametrize("name", [ABSENT, FOREIGN, OWNERLESS])
async def test_a_masked_answer_waits_for_its_time_and_no_other_does(
    livekit: RecordedLiveKit, name: str
) -> None:
    masked = AtOnce()
    rooms = Rooms(livekit.directory, Consistency.FULL, masked)
    await rooms.get(ACME, None, OWN)
    with pytest.raises(RoomNameBlank):
        await rooms.get(ACME, None, " ")
    assert masked.left == 0
    with pytest.raises(RoomNotFound):
        await rooms.get(ACME, None, name)
    assert masked.left == 1


@pytest.mark.parametrize("name", [ABSENT, FOREIGN, OWNERLESS])
async def test_an_answer_that_shared_a_question_with_a_masked_one_waits_for_its_time_too(
    livekit: RecordedLiveKit, name: str
) -> None:
    masked = AtOnce()
    rooms = Rooms(livekit.directory, Consistency.FULL, masked)
    given, hidden = await asyncio.gather(
        rooms.get(ACME, None, OWN), rooms.get(ACME, None, name), return_exceptions=True
    )
    assert isinstance(given, RoomDetails)
    assert isinstance(hidden, RoomNotFound)
    assert masked.left == 2


@pytest.mark.parametrize("beside", [ABSENT, FOREIGN, OWNERLESS])
async def test_a_failure_after_such_a_question_waits_for_its_time_too(
    livekit: RecordedLiveKit, beside: str
) -> None:
    masked = AtOnce()
    rooms = Rooms(livekit.directory, Consistency.FULL, masked)
    livekit.failures[2] = LiveKitUnavailable("away")
    failed, _ = await asyncio.gather(
        rooms.get(ACME, None, OWN), rooms.get(ACME, None, beside), return_exceptions=True
    )
    assert isinstance(failed, LiveKitUnavailable)
    assert masked.left == 2


# --- the second look --------------------------------------------------------------------------------------

ROOM, PEOPLE = ("rooms", (OWN,)), ("participants", (OWN,))

CHANGES = {
    "recreated by the same owner": room(OWN, "acme", sid="RM_2"),
    "recreated by another": room(OWN, "globex", sid="RM_2"),
    "given to another": room(OWN, "globex"),
    "given to a look-alike": room(OWN, "acme "),
    "given to nobody": room(OWN),
    "removed": None,
}


@pytest.mark.parametrize("principal", EVERYBODY)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_room_that_changed_hands_or_life_while_participants_were_read_is_masked(
    rooms: Rooms, livekit: RecordedLiveKit, principal: Principal, change: Room | None
) -> None:
    livekit.after_participants = lambda: livekit.rooms.pop(OWN) if change is None else livekit.put(change)
    with pytest.raises(RoomNotFound):
        await rooms.get(principal, None, OWN)
    assert livekit.asked == [ROOM, PEOPLE, ROOM]


@pytest.mark.parametrize("principal", EVERYBODY)
async def test_an_unchanged_room_is_given_with_the_fields_of_the_second_look(
    rooms: Rooms, livekit: RecordedLiveKit, principal: Principal
) -> None:
    changed = room(OWN, "acme", num_participants=7, active_recording=True)
    changed.metadata = '{"topic": "new", "auth_id": "acme"}'
    livekit.after_participants = lambda: livekit.put(changed)
    details = await rooms.get(principal, None, OWN)
    assert (details.room, details.participants) == (changed, SOMEBODY)
    assert livekit.asked == [ROOM, PEOPLE, ROOM]


async def test_a_room_of_nobody_that_is_nobodys_for_another_reason_has_not_changed_hands(
    rooms: Rooms, livekit: RecordedLiveKit
) -> None:
    changed = room(OWNERLESS, metadata="auth_id: acme")
    livekit.after_participants = lambda: livekit.put(changed)
    details = await rooms.get(OPERATOR, None, OWNERLESS)
    assert (details.room, details.participants) == (changed, SOMEBODY)


async def test_an_empty_room_needs_no_second_look(rooms: Rooms, livekit: RecordedLiveKit) -> None:
    livekit.participants = {}
    livekit.after_participants = lambda: livekit.put(room(OWN, "globex"))
    details = await rooms.get(ACME, None, OWN)
    assert (details.room, details.participants) == (room(OWN, "acme"), [])
    assert livekit.asked == [ROOM, PEOPLE]


async def test_a_room_that_livekit_no_longer_finds_is_masked(rooms: Rooms, livekit: RecordedLiveKit) -> None:
    livekit.failures[2] = RoomNotFound("ListParticipants: HTTP 404")  # MATRIX U8
    with pytest.raises(RoomNotFound):
        await rooms.get(ACME, None, OWN)


@pytest.mark.parametrize(
    "failure", [LiveKitUnavailable, LiveKitTimedOut, LiveKitFailed, LiveKitNotConfigured]
)
@pytest.mark.parametrize("step", [1, 2, 3])
async def test_a_failure_at_any_step_is_the_answer(
    rooms: Rooms, livekit: RecordedLiveKit, failure: type[DomainError], step: int
) -> None:
    livekit.failures[step] = failure("canary")
    with pytest.raises(failure):
        await rooms.get(ACME, None, OWN)
    assert len(livekit.asked) == step


# --- what a request must be -------------------------------------------------------------------------------

BLANK_NAMES = ["", " ", "\t", "\r\n", "\u00a0", "\u3000 \u2003"]
LONG_NAMES = ["x" * 257, "\u00e9" * 129, "\U0001f600" * 65]


@pytest.mark.parametrize("principal", EVERYBODY)
@pytest.mark.parametrize(
    ("name", "refusal"),
    [*((name, RoomNameBlank) for name in BLANK_NAMES), *((name, RoomNameTooLong) for name in LONG_NAMES)],
)
async def test_a_name_that_no_room_has_is_refused_before_livekit_is_asked(
    rooms: Rooms, livekit: RecordedLiveKit, principal: Principal, name: str, refusal: type[DomainError]
) -> None:
    with pytest.raises(refusal):
        await rooms.get(principal, None, name)
    assert livekit.asked == []


@pytest.mark.parametrize(
    ("page_size", "page_token", "refusal"),
    [(-1, "", PageSizeInvalid), (-1, "nonsense", PageSizeInvalid), (1, "nonsense", PageTokenInvalid)],
)
async def test_a_page_that_cannot_be_is_refused_before_livekit_is_asked(
    rooms: Rooms, livekit: RecordedLiveKit, page_size: int, page_token: str, refusal: type[DomainError]
) -> None:
    with pytest.raises(refusal):
        await rooms.list(ACME, None, page_size, page_token, None)
    assert livekit.asked == []


async def test_what_a_tenant_may_not_is_said_before_what_is_wrong(rooms: Rooms) -> None:
    with pytest.raises(OperatorOnly):
        await rooms.list(ACME, "globex", -1, "nonsense", None)
    with pytest.raises(OperatorOnly):
        await rooms.get(ACME, "globex", "")


EXACT_NAMES = ["a/b", "..", "%2F", "a\0b", "caf\u00e9", "cafe\u0301", " x ", "+", "\U0001f600", "x" * 256]


@pytest.mark.parametrize("name", EXACT_NAMES)
async def test_a_name_reaches_livekit_exactly(rooms: Rooms, livekit: RecordedLiveKit, name: str) -> None:
    livekit.put(room(name, "acme"))
    assert (await rooms.get(ACME, None, name)).room.name == name
    assert livekit.asked == [("rooms", (name,)), ("participants", (name,))]


# --- lists ------------------------------------------------------------------------------------------------

IDS = ["acme", "Acme", "acm", "acme2", "acme ", "caf\u00e9", "cafe\u0301", "\u0430cme", ""]


@pytest.mark.wall
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from([*IDS, None])))
async def test_each_tenant_gets_exactly_its_own_rooms_in_order(owners: dict[str, str | None]) -> None:
    rooms = Rooms(
        RecordedLiveKit(*(room(*owned) for owned in owners.items())).directory, Consistency.FULL, AtOnce()
    )
    for tenant_id in IDS:
        own = sorted(name for name, owner in owners.items() if owner == tenant_id)
        assert await names(rooms, Tenant(TenantId(tenant_id))) == own
    assert await names(rooms, OPERATOR) == sorted(owners)


async def test_a_page_goes_on_where_the_last_one_ended(rooms: Rooms) -> None:
    first = await rooms.list(OPERATOR, None, 2, "", None)
    second = await rooms.list(OPERATOR, None, 2, first.next_page_token, None)
    assert [[room.name for room in page.rooms] for page in (first, second)] == [[FOREIGN, OWN], [OWNERLESS]]
    assert second.next_page_token == ""


@pytest.mark.parametrize("default", list(Consistency))
async def test_a_list_without_a_wish_has_the_consistency_that_is_set(
    livekit: RecordedLiveKit, default: Consistency
) -> None:
    rooms = Rooms(livekit.directory, default, AtOnce())
    token = (await rooms.list(OPERATOR, None, 1, "", None)).next_page_token
    assert (await rooms.list(OPERATOR, None, 1, token, default)).rooms
    (other,) = set(Consistency) - {default}
    with pytest.raises(PageTokenInvalid):
        await rooms.list(OPERATOR, None, 1, token, other)
