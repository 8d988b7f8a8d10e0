"""Each call to LiveKit, failing in each way: the caller gets a fault, never a part of the answer nor a 404.

And answers of LiveKit's that are damaged anywhere: each is read as LiveKit's own client reads it, or refused.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import grpc
import pytest
from google.protobuf.message import DecodeError
from livekit.protocol.room import ListParticipantsResponse, ListRoomsResponse

from service.ownership import owner_of
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import LIST_ROOMS, Outcome, bearer, call, get_room
from tests.service.test_server import ACME, CLOSED, service
from tests.support.full_counts import FullCounts
from tests.support.livekit_calls import Fault
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import (
    EndlessBody,
    GzipBomb,
    Hang,
    Mutate,
    Normal,
    PlainText,
    RawBody,
    Reset,
    Trickle,
    Truncate,
    TwirpError,
    html_page,
)

REASONS = {"LIVEKIT_FAILED", "LIVEKIT_UNAVAILABLE"}

TWIRP_CODES = ("internal", "not_found", "unauthenticated", "unavailable")

FAULTS: dict[str, Fault] = {
    **{f"Twirp's {code}": TwirpError(code, "canary") for code in TWIRP_CODES},
    **{f"plain {status}": PlainText(status, "canary") for status in (401, 404, 413, 500, 503)},
    "an odd 2xx": RawBody(b"", 204),
    "a redirect": RawBody(b"", 307, headers={"Location": "/"}),
    "html": html_page(),
    "no protobuf": RawBody(b"\xff\xff\xff"),
    "half a message": Mutate(lambda body: body[:-1]),
    "JSON": RawBody(b'{"rooms":[]}', content_type="application/json"),
    "truncated": Truncate(),
    "truncated by a byte": Truncate(0.999),
    "truncated at once": Truncate(0),
    "reset": Reset(),
    "reset before an answer": Reset(None),
    "endless": EndlessBody(),
    "gzip bomb": GzipBomb(2**22),
    "hangs": Hang(),
    "trickles": Trickle(0.05),
}


@dataclass(frozen=True)
class Upstream:
    """One of the calls to LiveKit that an answer takes.

    Attributes:
        method: the call.
        before: how many calls of this method come first, and go well.
        consistency: what the question asks for.
        room: the room that is asked for; without one it is the list.
    """

    method: str
    before: int = 0
    room: str | None = None
    consistency: "pb.Consistency.ValueType" = pb.CONSISTENCY_FULLY_CONSISTENT

    async def ask(self, channel: grpc.aio.Channel) -> Outcome:
        """The question whose answer takes this call."""
        if self.room is not None:
            return await get_room(channel, self.room, ACME)
        return await call(
            channel, LIST_ROOMS, pb.ListRoomsRequest(consistency=self.consistency), bearer(ACME)
        )


CALLS = {
    "the scan": Upstream("ListRooms"),
    "the candidates": Upstream("ListRooms", consistency=pb.CONSISTENCY_MINIMIZE_LATENCY),
    "the first look": Upstream("ListRooms", room="own"),
    "the participants": Upstream("ListParticipants", room="own"),
    "the second look": Upstream("ListRooms", before=1, room="own"),
}


@pytest.fixture(scope="module", params=[0.2], ids=["impatient"])
async def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[LiveKitDouble, grpc.aio.Channel]]:
    """A service that waits for so many seconds for LiveKit."""
    address = f"unix:{tmp_path_factory.mktemp('faults')}/s"
    settings = {
        **CLOSED,
        "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": str(request.param),
        "TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES": str(2**20),
        "TENANTROOMS_INDEX_INTERVAL_SECONDS": "3600",
    }
    async with LiveKitDouble() as double:
        for name in ("own", "own too"):
            double.put_room(name, owner="acme")
        double.put_room("foreign", owner="globex")
        double.put_participant("own", "somebody", attributes={"of": "acme"})
        async with service(address, double, **settings) as channel:
            # Once there is an index, lists that ask for little latency look their candidates up by name.
            await CALLS["the candidates"].ask(channel)
            yield double, channel


@pytest.fixture
def double(stage: tuple[LiveKitDouble, grpc.aio.Channel]) -> LiveKitDouble:
    stage[0].heal()
    stage[0].forget()
    return stage[0]


@pytest.fixture
def channel(stage: tuple[LiveKitDouble, grpc.aio.Channel]) -> grpc.aio.Channel:
    return stage[1]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_each_fault_at_each_call_is_told_and_the_next_question_is_answered(
    double: LiveKitDouble, channel: grpc.aio.Channel, fault: Fault
) -> None:  # MATRIX U1 to U6
    for what, upstream in CALLS.items():
        if upstream.method == "ListParticipants" and fault == FAULTS["Twirp's not_found"]:
            continue  # which means that the room is gone
        right = await upstream.ask(channel)
        assert right.code is grpc.StatusCode.OK
        double.script(upstream.method, *[Normal()] * upstream.before)
        double.script_always(upstream.method, fault)
        answer = await upstream.ask(channel)
        assert answer.reason in REASONS, what
        assert answer.body == b""
        assert b"canary" not in answer.everything
        double.heal()
        assert (await upstream.ask(channel)).body == right.body, what


# --- damaged answers --------------------------------------------------------------------------------------

# None of these faults takes its time, so that a slow machine must not be taken for one.
patient = pytest.mark.parametrize("stage", [10], ids=["patient"], indirect=True)


class Damage:
    """Changes bytes at random places; the same seed makes the same damage."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._chance = random.Random(seed)  # noqa: S311 (guards nothing)
        self.body = b""

    def __call__(self, body: bytes) -> bytes:
        """The bytes as LiveKit would send them, damaged."""
        for _ in range(self._chance.choice((1, 1, 1, 2, 8))):
            place = self._chance.randrange(len(body) + 1)
            some = self._chance.randbytes(self._chance.choice((0, 1, 1, 2, 9)))
            dropped = self._chance.choice((0, 1, len(some), self._chance.randrange(len(body) + 1)))
            again = body[place : place + self._chance.choice((0, 0, 0, 60))]
            body = body[:place] + again + some + body[place + dropped :]
        self.body = body
        return body


def listed_by_livekits_client(body: bytes) -> list[str] | None:
    """The rooms of the tenant's in these bytes, as LiveKit's own client reads them; None where it fails."""
    try:
        rooms = ListRoomsResponse.FromString(body).rooms
    except DecodeError:
        return None
    return sorted(room.name for room in rooms if owner_of(room.metadata) == "acme")


async def listed(channel: grpc.aio.Channel) -> list[str] | None:
    answer = await CALLS["the scan"].ask(channel)
    if answer.code is not grpc.StatusCode.OK:
        assert answer.reason in REASONS
        return None
    return [room.name for room in pb.ListRoomsResponse.FromString(answer.body).rooms]


FAULT: Final = "a fault"
READ: Final = "as read by LiveKit's client"


async def damaged(
    double: LiveKitDouble,
    load: FullCounts,
    what: str,
    method: str,
    ask: Callable[[Damage], Awaitable[str]],
) -> None:
    """Has LiveKit's answers to this method damaged in many ways; `ask` asks and says what came of one."""
    count = load.count(10_000, short=200)
    found: Counter[str] = Counter()
    for seed in range(count):
        load.progress(f"damaged {what}", seed, count)
        damage = Damage(seed)
        double.script(method, Mutate(damage))
        found[await ask(damage)] += 1
    assert found.keys() == {FAULT, READ}
    shown = ", ".join(f"{times:,} {outcome}" for outcome, times in sorted(found.items()))
    load.figure(f"U4 ({what})", f"{count:,} damaged: {shown}; 0 crashes, 0 partial")


@patient
@pytest.mark.load
async def test_a_damaged_list_is_what_livekits_client_reads_or_a_fault(
    double: LiveKitDouble, channel: grpc.aio.Channel, load: FullCounts
) -> None:  # MATRIX U4
    async def ask(damage: Damage) -> str:
        rooms = await listed(channel)
        expected = listed_by_livekits_client(damage.body)
        if rooms is None:
            # Two rooms of one name are refused, although LiveKit's client would read them.
            assert expected is None or repeated_names(damage.body), (damage.seed, damage.body)
            return FAULT
        assert rooms == expected, (damage.seed, damage.body)
        return READ

    await damaged(double, load, "lists", "ListRooms", ask)
    double.heal()
    assert await listed(channel) == ["own", "own too"]


def repeated_names(body: bytes) -> bool:
    names = [room.name for room in ListRoomsResponse.FromString(body).rooms]
    return len(set(names)) < len(names)


@patient
@pytest.mark.load
async def test_damaged_participants_are_those_that_livekits_client_reads_or_a_fault(
    double: LiveKitDouble, channel: grpc.aio.Channel, load: FullCounts
) -> None:  # MATRIX U4
    async def ask(damage: Damage) -> str:
        answer = await get_room(channel, "own", ACME)
        try:
            people = [one.identity for one in ListParticipantsResponse.FromString(damage.body).participants]
        except DecodeError:
            people = None
        if answer.code is not grpc.StatusCode.OK:
            assert people is None, (damage.seed, damage.body)
            assert answer.reason in REASONS
            return FAULT
        shown = [one.identity for one in pb.GetRoomResponse.FromString(answer.body).participants]
        assert people is not None
        assert sorted(shown) == sorted(people), (damage.seed, damage.body)
        return READ

    await damaged(double, load, "participants", "ListParticipants", ask)


@patient
@pytest.mark.load
async def test_an_answer_that_ends_too_early_is_a_fault_wherever_it_ends(
    double: LiveKitDouble, channel: grpc.aio.Channel, load: FullCounts
) -> None:  # MATRIX U4
    body = ListRoomsResponse(rooms=[double.room(name) for name in ("own", "own too", "foreign")])
    whole = len(body.SerializeToString())
    step = load.count(1, short=16)
    for upstream in (CALLS["the scan"], CALLS["the first look"], CALLS["the participants"]):
        for fault in (Truncate, Reset):
            for kept in range(0, whole, step):
                double.script_always(upstream.method, fault(kept / whole))
                answer = await upstream.ask(channel)
                assert answer.reason in REASONS, (fault, kept)
            double.heal()
    load.figure("U4 (cut off)", f"{6 * len(range(0, whole, step)):,} places and calls: 0 partial")
