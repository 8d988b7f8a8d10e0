"""The translation between the contract's messages and the use cases, driven by grpcio-testing."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from livekit.protocol.models import ParticipantInfo, Room

from service import servicer as servicer_module
from service.answer_space import SPACE
from service.auth.principal import (
    AllRooms,
    Anonymous,
    OneTenant,
    Operator,
    Principal,
    Scope,
    Tenant,
    TenantId,
)
from service.authentication import PRINCIPAL
from service.batches import Asker
from service.consistency import Consistency
from service.errors import ConsistencyInvalid, DomainError, OperatorOnly, TenantIdBlank
from service.named_rooms import OwnedRoom
from service.ownership import Owner
from service.participants import Participants
from service.room_index import ListedRoom
from service.rooms import Rooms
from service.servicer import Servicer
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpcio_testing import TestingServer
from tests.service.recorded_rooms import AtOnce, RecordedLiveKit, room
from tests.support.loop_turns import others_beside

CANARY = "canary-5ecret"
ACME = Tenant(TenantId("acme"))

STATES = {
    0: pb.PARTICIPANT_STATE_JOINING,
    1: pb.PARTICIPANT_STATE_JOINED,
    2: pb.PARTICIPANT_STATE_ACTIVE,
    3: pb.PARTICIPANT_STATE_DISCONNECTED,
}
KINDS = {
    0: pb.PARTICIPANT_KIND_STANDARD,
    1: pb.PARTICIPANT_KIND_INGRESS,
    2: pb.PARTICIPANT_KIND_EGRESS,
    3: pb.PARTICIPANT_KIND_SIP,
    4: pb.PARTICIPANT_KIND_AGENT,
}


@pytest.fixture
def caller() -> Iterator[Principal]:
    """Authentication has found the tenant acme."""
    before = PRINCIPAL.set(ACME)
    yield ACME
    PRINCIPAL.reset(before)


def full_room() -> Room:
    """A room in which every field is set, and every secret is the canary."""
    return Room(
        sid="RM_1",
        name="lobby",
        empty_timeout=111,
        departure_timeout=222,
        max_participants=5,
        creation_time=1_700_000_000,
        creation_time_ms=1_700_000_000_123,
        turn_password=CANARY,
        metadata='{"auth_id": "acme"}',
        num_participants=3,
        num_publishers=2,
        active_recording=True,
    )


def full_participant(**fields: Any) -> ParticipantInfo:
    return ParticipantInfo(
        **{
            "sid": "PA_1",
            "identity": "somebody",
            "name": "Somebody",
            "state": ParticipantInfo.State.ACTIVE,
            "kind": ParticipantInfo.Kind.AGENT,
            "joined_at": 1_700_000_001,
            "joined_at_ms": 1_700_000_001_999,
            "metadata": "theirs",
            "attributes": {"a": "1", "": "\u00e9"},
            "is_publisher": True,
            "region": CANARY,
            **fields,
        }
    )


def serve(livekit: RecordedLiveKit) -> TestingServer:
    return TestingServer(Servicer(Rooms(livekit.directory, Consistency.FULL, AtOnce())))


async def test_a_room_is_given_field_by_field(caller: Principal) -> None:
    livekit = RecordedLiveKit(full_room())
    livekit.participants["lobby"] = [full_participant()]
    response, code = await serve(livekit).call(pb.GetRoomRequest(room_name="lobby"))
    assert code is grpc.StatusCode.OK
    assert response.room == pb.Room(
        name="lobby",
        sid="RM_1",
        num_participants=3,
        max_participants=5,
        creation_time=Timestamp(seconds=1_700_000_000, nanos=123_000_000),
        metadata='{"auth_id": "acme"}',
        active_recording=True,
    )
    assert list(response.participants) == [
        pb.Participant(
            sid="PA_1",
            identity="somebody",
            name="Somebody",
            state=pb.PARTICIPANT_STATE_ACTIVE,
            kind=pb.PARTICIPANT_KIND_AGENT,
            joined_at=Timestamp(seconds=1_700_000_001, nanos=999_000_000),
            metadata="theirs",
            attributes={"a": "1", "": "\u00e9"},
            is_publisher=True,
        )
    ]


@pytest.mark.parametrize("request_", [pb.ListRoomsRequest(), pb.GetRoomRequest(room_name="lobby")])
async def test_an_answer_asks_for_as_much_space_as_it_takes_and_then_for_no_more(
    caller: Principal, request_: pb.ListRoomsRequest | pb.GetRoomRequest
) -> None:
    livekit = RecordedLiveKit(full_room(), *(room(f"z{number}", "acme") for number in range(99)))
    livekit.participants["lobby"] = [full_participant(metadata="m" * 10_000)] * 3
    asked: list[int] = []

    async def keep(size: int) -> None:
        asked.append(size)

    before = SPACE.set(keep)
    response, code = await serve(livekit).call(request_)
    SPACE.reset(before)
    assert code is grpc.StatusCode.OK
    assert len(asked) == 1
    assert response.ByteSize() <= asked[0] <= response.ByteSize() + 200


async def test_a_list_is_given_field_by_field_with_its_token(caller: Principal) -> None:
    server = serve(RecordedLiveKit(full_room(), room("z", "acme"), room("a", "globex")))
    response, code = await server.call(pb.ListRoomsRequest(page_size=1))
    assert code is grpc.StatusCode.OK
    assert list(response.rooms) == [
        pb.RoomSummary(
            name="lobby",
            sid="RM_1",
            num_participants=3,
            creation_time=Timestamp(seconds=1_700_000_000, nanos=123_000_000),
        )
    ]
    rest, _ = await server.call(pb.ListRoomsRequest(page_token=response.next_page_token))
    assert ([room.name for room in rest.rooms], rest.next_page_token) == (["z"], "")


class SharedRoom:
    """A directory of one room, whose reading all callers share."""

    def __init__(self, room: Room, *participants: ParticipantInfo) -> None:
        self.owned = OwnedRoom(room, TenantId("acme"))
        self.present = Participants(participants)

    async def rooms(self, scope: Scope, consistency: Consistency) -> list[ListedRoom]:
        raise AssertionError

    async def room(self, name: str, asker: Asker) -> OwnedRoom | None:
        return self.owned

    async def participants(self, room_name: str, owner: Owner) -> Participants:
        return self.present


async def test_callers_who_share_a_reading_share_the_making_of_the_answer(caller: Principal) -> None:
    directory = SharedRoom(full_room(), full_participant())
    server = TestingServer(Servicer(Rooms(directory, Consistency.FULL, AtOnce())))
    first, _ = await server.call(pb.GetRoomRequest(room_name="lobby"))
    assert (first.room.num_participants, first.participants[0].name) == (3, "Somebody")
    directory.owned.room.num_participants = 9
    directory.present[0].name = "Nobody"
    assert await server.call(pb.GetRoomRequest(room_name="lobby")) == (first, grpc.StatusCode.OK)
    # Each reading has its own.
    directory.owned = OwnedRoom(directory.owned.room, directory.owned.owner)
    newer, _ = await server.call(pb.GetRoomRequest(room_name="lobby"))
    assert (newer.room.num_participants, newer.participants[0].name) == (9, "Somebody")
    directory.present = Participants(directory.present)
    newer, _ = await server.call(pb.GetRoomRequest(room_name="lobby"))
    assert (newer.room.num_participants, newer.participants[0].name) == (9, "Nobody")


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long work has had its share whenever it asks."""
    monkeypatch.setattr("service.turns._SHARE_SECONDS", 0.0)


def many_participants(count: int) -> list[ParticipantInfo]:
    attributes = {str(number): "v" for number in range(9)}
    return [full_participant(identity=f"user-{number}", attributes=attributes) for number in range(count)]


@pytest.mark.usefixtures("short_turns")
async def test_a_room_with_very_many_participants_gives_other_calls_their_turns(caller: Principal) -> None:
    present = many_participants(1_000)
    servicer = Servicer(Rooms(SharedRoom(full_room(), *present), Consistency.FULL, AtOnce()))
    async with others_beside() as turns:
        answer = await servicer.GetRoom(pb.GetRoomRequest(room_name="lobby"), cast(Any, None))
    # The size is found out and the answer made in turns.
    assert turns.taken >= 2 * len(present)
    participants = pb.GetRoomResponse.FromString(answer).participants
    assert [each.identity for each in participants] == [each.identity for each in present]
    assert {len(each.attributes) for each in participants} == {9}


@pytest.mark.usefixtures("short_turns")
async def test_callers_at_once_get_the_same_bytes_which_are_made_once_also_where_the_first_leaves(
    caller: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counted(participant: ParticipantInfo, response: pb.GetRoomResponse) -> None:
        made.append(participant.identity)
        show(participant, response)
        if len(made) == 30:
            calls[0].cancel()

    show = servicer_module._show
    monkeypatch.setattr(servicer_module, "_show", counted)
    present = many_participants(100)
    servicer = Servicer(Rooms(SharedRoom(full_room(), *present), Consistency.FULL, AtOnce()))

    request = pb.GetRoomRequest(room_name="lobby")
    calls = [asyncio.create_task(servicer.GetRoom(request, cast(Any, None))) for _ in range(10)]
    async with asyncio.timeout(10):
        await asyncio.wait(calls)
    assert calls[0].cancelled()
    (answer,) = {call.result() for call in calls[1:]}
    assert [each.identity for each in pb.GetRoomResponse.FromString(answer).participants] == made[30:]
    assert made[30:] == [each.identity for each in present]


async def test_the_same_rooms_are_listed_in_the_same_bytes_until_one_of_them_changes(
    caller: Principal,
) -> None:
    livekit = RecordedLiveKit(room("a", "acme"), room("b", "acme"), room("c", "globex"))
    servicer = Servicer(Rooms(livekit.directory, Consistency.FULL, AtOnce()))

    async def listed(**request: Any) -> bytes:
        return await servicer.ListRooms(pb.ListRoomsRequest(**request), cast(Any, None))

    first = await listed()
    livekit.put(room("c", "globex", sid="RM_2"))
    assert await listed(page_size=2) is first
    assert [room.name for room in pb.ListRoomsResponse.FromString(await listed(page_size=1)).rooms] == ["a"]
    livekit.put(room("b", "globex"))
    changed = await listed()
    assert [room.name for room in pb.ListRoomsResponse.FromString(changed).rooms] == ["a"]
    assert await listed() is changed


async def test_livekits_secrets_are_in_no_answer(caller: Principal) -> None:
    livekit = RecordedLiveKit(full_room())
    livekit.participants["lobby"] = [full_participant()]
    server = serve(livekit)
    for request in (pb.GetRoomRequest(room_name="lobby"), pb.ListRoomsRequest()):
        response, _ = await server.call(request)
        assert b"lobby" in response.SerializeToString()
        assert CANARY.encode() not in response.SerializeToString()


def test_every_word_that_the_contract_has_is_used() -> None:
    for words, numbers in ((pb.ParticipantState, STATES), (pb.ParticipantKind, KINDS)):
        assert set(words.values()) == {0, *numbers.values()}


@pytest.mark.parametrize("number", [*range(10), 99, 2**31 - 1, -1])
async def test_states_and_kinds_without_a_word_are_unspecified(caller: Principal, number: int) -> None:
    livekit = RecordedLiveKit(room("lobby", "acme"))
    livekit.participants["lobby"] = [full_participant(state=number, kind=number)]
    response, _ = await serve(livekit).call(pb.GetRoomRequest(room_name="lobby"))
    (participant,) = response.participants
    assert participant.state == STATES.get(number, pb.PARTICIPANT_STATE_UNSPECIFIED)
    assert participant.kind == KINDS.get(number, pb.PARTICIPANT_KIND_UNSPECIFIED)


TIMES = [
    # LiveKit's seconds and milliseconds, and what the caller gets
    (1_700_000_000, 1_700_000_000_123, (1_700_000_000, 123_000_000)),
    (1_700_000_000, 1_700_000_000_000, (1_700_000_000, 0)),
    (1_700_000_000, 0, (1_700_000_000, 0)),  # an older LiveKit
    (1_700_000_000, 1_600_000_000_123, (1_700_000_000, 0)),  # they contradict each other
    (0, 0, (0, 0)),
]


@pytest.mark.parametrize(("seconds", "milliseconds", "expected"), TIMES)
async def test_times_are_as_fine_as_livekit_knows_them_and_always_set(
    caller: Principal, seconds: int, milliseconds: int, expected: tuple[int, int]
) -> None:
    livekit = RecordedLiveKit(room("lobby", "acme", creation_time=seconds, creation_time_ms=milliseconds))
    livekit.participants["lobby"] = [full_participant(joined_at=seconds, joined_at_ms=milliseconds)]
    server = serve(livekit)
    details, _ = await server.call(pb.GetRoomRequest(room_name="lobby"))
    page, _ = await server.call(pb.ListRoomsRequest())
    assert details.room.HasField("creation_time")
    assert details.participants[0].HasField("joined_at")
    assert page.rooms[0].HasField("creation_time")
    for time in (details.room.creation_time, details.participants[0].joined_at, page.rooms[0].creation_time):
        assert (time.seconds, time.nanos) == expected


# --- from the request to the use case ---------------------------------------------------------------------


class RecordingDirectory:
    """Has no rooms; remembers for which scope it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Scope, Consistency]] = []

    async def rooms(self, scope: Scope, consistency: Consistency) -> list[ListedRoom]:
        self.asked.append((scope, consistency))
        return []

    async def room(self, name: str, asker: Asker) -> OwnedRoom | None:
        raise AssertionError

    async def participants(self, room_name: str, owner: Owner) -> Participants:
        raise AssertionError


SCOPES: list[tuple[Principal, dict[str, str], Scope]] = [
    (ACME, {}, OneTenant(TenantId("acme"))),
    (ACME, {"tenant_id": "acme"}, OneTenant(TenantId("acme"))),
    (Operator("on-call"), {}, AllRooms()),
    (Operator("on-call"), {"tenant_id": "acme"}, OneTenant(TenantId("acme"))),
    (Anonymous(), {}, AllRooms()),
]


@pytest.mark.parametrize(("principal", "fields", "scope"), SCOPES)
async def test_the_caller_and_the_tenant_that_is_named_make_the_scope(
    caller: Principal, principal: Principal, fields: dict[str, str], scope: Scope
) -> None:
    directory = RecordingDirectory()
    server = TestingServer(Servicer(Rooms(directory, Consistency.FULL, AtOnce())))
    PRINCIPAL.set(principal)
    await server.call(pb.ListRoomsRequest(**fields))  # type: ignore[arg-type]
    assert directory.asked == [(scope, Consistency.FULL)]


@pytest.mark.parametrize(
    ("wish", "default", "used"),
    [
        (pb.CONSISTENCY_UNSPECIFIED, Consistency.FULL, Consistency.FULL),
        (pb.CONSISTENCY_UNSPECIFIED, Consistency.MINIMIZE_LATENCY, Consistency.MINIMIZE_LATENCY),
        (pb.CONSISTENCY_FULLY_CONSISTENT, Consistency.MINIMIZE_LATENCY, Consistency.FULL),
        (pb.CONSISTENCY_MINIMIZE_LATENCY, Consistency.FULL, Consistency.MINIMIZE_LATENCY),
    ],
)
async def test_the_consistency_is_the_requests_or_the_one_that_is_set(
    caller: Principal, wish: pb.Consistency.ValueType, default: Consistency, used: Consistency
) -> None:
    directory = RecordingDirectory()
    await TestingServer(Servicer(Rooms(directory, default, AtOnce()))).call(
        pb.ListRoomsRequest(consistency=wish)
    )
    assert [consistency for _, consistency in directory.asked] == [used]


# A domain error goes on to the error boundary, which grpcio-testing cannot have: so straight to the servicer.
REFUSED: list[tuple[pb.ListRoomsRequest | pb.GetRoomRequest, type[DomainError]]] = [
    (pb.ListRoomsRequest(consistency=3), ConsistencyInvalid),  # type: ignore[arg-type]
    (pb.ListRoomsRequest(consistency=-1), ConsistencyInvalid),  # type: ignore[arg-type]
    (pb.ListRoomsRequest(tenant_id=""), TenantIdBlank),
    (pb.GetRoomRequest(tenant_id="", room_name="lobby"), TenantIdBlank),
    (pb.GetRoomRequest(tenant_id="globex", room_name="lobby"), OperatorOnly),
]


@pytest.mark.parametrize(("request_", "refusal"), REFUSED, ids=range(len(REFUSED)))
async def test_a_refusal_is_a_domain_error(
    caller: Principal, request_: Any, refusal: type[DomainError]
) -> None:
    servicer: Any = Servicer(Rooms(RecordingDirectory(), Consistency.FULL, AtOnce()))
    rpc = servicer.ListRooms if isinstance(request_, pb.ListRoomsRequest) else servicer.GetRoom
    with pytest.raises(refusal):
        await rpc(request_, None)


# --- callers that leave, by a clock that stands still -----------------------------------------------------


class HeldDirectory(RecordingDirectory):
    """Never answers; tells when it was asked and when its caller left."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.left = asyncio.Event(), asyncio.Event()

    async def rooms(self, scope: Scope, consistency: Consistency) -> list[ListedRoom]:
        self.reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        raise AssertionError


@pytest.mark.parametrize("deadline", [True, False])
async def test_a_call_that_is_cancelled_or_too_late_stops_asking(caller: Principal, deadline: bool) -> None:
    directory = HeldDirectory()
    server = TestingServer(Servicer(Rooms(directory, Consistency.FULL, AtOnce())))
    async with asyncio.timeout(10):
        rpc = server.start(pb.ListRoomsRequest(), timeout=5)
        await directory.reached.wait()
        await asyncio.to_thread(server.clock.sleep_for, 4.9)
        assert not directory.left.is_set()
        await asyncio.to_thread(server.clock.sleep_for, 0.2) if deadline else rpc.cancel()
        await directory.left.wait()
    if deadline:
        assert (await asyncio.to_thread(rpc.termination))[2] is grpc.StatusCode.DEADLINE_EXCEEDED
