"""An absent, a foreign and an ownerless room take the same upstream calls and the same time.

So does a room of the caller's own that is asked for beside one of them.
"""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from itertools import cycle

import aiohttp
import grpc
import pytest
from livekit.protocol import room as proto

from service.even_answers import STEP_SECONDS
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1 import tenant_rooms_pb2_grpc as pb_grpc
from tests.end_to_end.callers import ACME, GLOBEX, Callers
from tests.end_to_end.conftest import running
from tests.support.full_counts import FullCounts
from tests.support.livekit_double import LiveKitDouble
from tests.support.real_livekit import RealLiveKit
from tests.support.twirp import TwirpCaller
from tests.wall.sampling import PAIRS, leaks, pair_rows, sampled

KINDS = ("absent", "foreign", "ownerless")
ROOMS_OF_A_KIND = 8
SAMPLES = 10_000
CALLERS = 4
KIB = 1024

Ask = Callable[[str], Awaitable[None]]


def foreign_metadata(size: int) -> str:
    """Another tenant's metadata of so many bytes."""
    empty = json.dumps({"auth_id": "globex", "pad": ""})
    return json.dumps({"auth_id": "globex", "pad": "x" * (size - len(empty))})


OWNERLESS = [
    "",
    "{}",
    "no JSON " * 100,
    '{"auth_id":["acme"]}',
    '{"auth_id":"acme","auth_id":"acme"}',
    '{"auth_id":"acme","x":NaN}',
    '{"auth_id":"acme","x":' + "[" * 900,
    r'{"auth_id":"acme","auth\u005fid":"acme","x":"' + r"\ud83d\ude00" * 70 + '"}',
]
METADATA = {
    "foreign": [foreign_metadata(40 + 123 * number) for number in range(ROOMS_OF_A_KIND)],
    "ownerless": OWNERLESS,
}


def names_of(kind: str) -> list[str]:
    """Names of one length for all kinds, which tell nothing."""
    chance = random.Random(kind)
    return [f"room-{chance.randrange(10**9):09}" for _ in range(ROOMS_OF_A_KIND)]


@pytest.fixture
async def rooms(real_livekit_on_redis: RealLiveKit) -> None:
    for kind, texts in METADATA.items():
        assert max(len(text) for text in texts) <= KIB
        for name, text in zip(names_of(kind), texts, strict=True):
            await real_livekit_on_redis.create_room(name, metadata=text)


def over_grpc(channel: grpc.aio.Channel) -> Callable[[str], Awaitable[None]]:
    """Asks for a room by its name, which must be masked."""
    get_room = pb_grpc.TenantRoomsStub(channel).GetRoom

    async def ask(name: str) -> None:
        try:
            await get_room(pb.GetRoomRequest(room_name=name), metadata=(("authorization", f"Bearer {ACME}"),))
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017 (pytest.raises takes time of its own)
            return
        raise AssertionError(f"{name} was given")

    return ask


OWN = "room-own-room0"


def own_beside(channel: grpc.aio.Channel, credential: str = ACME) -> Callable[[str], Awaitable[float]]:
    """Asks for the own room and for eight of a kind at once; gives the µs until the own one's answer.

    What one of them adds to the time of a shared question, eight add eight times.

    Args:
        channel: to ask on.
        credential: for the own room.
    """
    get_room = pb_grpc.TenantRoomsStub(channel).GetRoom
    masked = over_grpc(channel)

    async def own() -> float:
        await get_room(
            pb.GetRoomRequest(room_name=OWN), metadata=(("authorization", f"Bearer {credential}"),)
        )
        return time.perf_counter_ns() / 1000

    async def ask_for(kind: str) -> float:
        neighbours = [asyncio.ensure_future(masked(name)) for name in names_of(kind)]
        began = time.perf_counter_ns() / 1000
        took = await own() - began
        await asyncio.gather(*neighbours)
        return took

    return ask_for


def probe_before(channel: grpc.aio.Channel, probe: str) -> Callable[[str], Awaitable[float]]:
    """Asks for an absent room, and then, when that answer is about to leave, for eight of a kind.

    Gives the µs until the answer to the first: whether looking at the others holds it up.
    """
    masked = over_grpc(channel)

    async def answered() -> float:
        await masked(probe)
        return time.perf_counter_ns() / 1000

    async def ask_for(kind: str) -> float:
        began = time.perf_counter_ns() / 1000
        first = asyncio.ensure_future(answered())
        await asyncio.sleep(random.uniform(0.005, STEP_SECONDS))
        neighbours = [asyncio.ensure_future(masked(name)) for name in names_of(kind)]
        took = await first - began
        await asyncio.gather(*neighbours)
        return took

    return ask_for


def over_rest(session: aiohttp.ClientSession, url: str) -> Callable[[str], Awaitable[None]]:
    """The same over REST."""

    async def ask(name: str) -> None:
        headers = {"Authorization": f"Bearer {ACME}"}
        async with session.get(f"{url}/livekit/rooms/{name}", headers=headers) as answer:
            assert answer.status == 404
            await answer.read()

    return ask


def of_kinds(ask: Ask) -> Ask:
    """Asks for the rooms of a kind in turn."""
    names = {kind: cycle(names_of(kind)) for kind in KINDS}

    async def ask_for(kind: str) -> None:
        await ask(next(names[kind]))

    return ask_for


@pytest.mark.wall
@pytest.mark.usefixtures("rooms")
async def test_over_grpc_the_time_does_not_tell_why_a_room_is_masked(
    walled_on_redis: Callers, wall: FullCounts
) -> None:
    async with grpc.aio.insecure_channel(walled_on_redis.stack.grpc_address) as channel:
        times = await sampled(
            wall, "masked answers over gRPC", KINDS, wall.count(SAMPLES, short=150),
            of_kinds(over_grpc(channel)), at_once=CALLERS,
        )  # fmt: skip
    wall.record("Timing of masked answers over gRPC", PAIRS, pair_rows(times))
    assert leaks(times, wall) == []


@pytest.mark.wall
@pytest.mark.usefixtures("rooms")
async def test_over_rest_the_time_does_not_tell_why_a_room_is_masked(
    walled_on_redis: Callers, http_session: aiohttp.ClientSession, wall: FullCounts
) -> None:
    times = await sampled(
        wall, "masked answers over REST", KINDS, wall.count(SAMPLES, short=150),
        of_kinds(over_rest(http_session, walled_on_redis.stack.url)), at_once=CALLERS,
    )  # fmt: skip
    wall.record("Timing of masked answers over REST", PAIRS, pair_rows(times))
    assert leaks(times, wall) == []


@pytest.mark.wall
@pytest.mark.usefixtures("rooms")
async def test_the_time_of_an_own_rooms_answer_does_not_tell_of_the_names_asked_for_beside_it(
    walled_on_redis: Callers, real_livekit_on_redis: RealLiveKit, wall: FullCounts
) -> None:
    await real_livekit_on_redis.create_room(OWN, owner="acme")
    async with grpc.aio.insecure_channel(walled_on_redis.stack.grpc_address) as channel:
        times = await sampled(
            wall, "an own room beside masked ones", KINDS, wall.count(SAMPLES, short=150),
            own_beside(channel), at_once=1,
        )  # fmt: skip
    wall.record("Timing of an own room's answer, asked for beside eight masked ones", PAIRS, pair_rows(times))
    assert leaks(times, wall) == []


@pytest.mark.wall
@pytest.mark.usefixtures("rooms")
async def test_the_time_of_a_masked_answer_does_not_tell_of_the_names_asked_for_just_before_it_leaves(
    walled_on_redis: Callers, wall: FullCounts
) -> None:
    async with grpc.aio.insecure_channel(walled_on_redis.stack.grpc_address) as channel:
        times = await sampled(
            wall, "a masked answer about to leave", KINDS, wall.count(SAMPLES // 2, short=100),
            probe_before(channel, "room-no-such-0"), at_once=1,
        )  # fmt: skip
    title = "Timing of a masked answer, eight others asked for when it is about to leave"
    wall.record(title, PAIRS, pair_rows(times))
    assert leaks(times, wall) == []


@pytest.mark.wall
@pytest.mark.usefixtures("rooms")
async def test_the_time_of_another_tenants_answer_is_measured_meanwhile(
    walled_on_redis: Callers, real_livekit_on_redis: RealLiveKit, wall: FullCounts
) -> None:
    await real_livekit_on_redis.create_room(OWN, owner="globex")
    async with grpc.aio.insecure_channel(walled_on_redis.stack.grpc_address) as channel:
        times = await sampled(
            wall, "another tenant's room meanwhile", KINDS, wall.count(SAMPLES // 2, short=20),
            own_beside(channel, GLOBEX), at_once=1,
        )  # fmt: skip
    assert all(min(each) > 0 for each in times.values())
    wall.record(
        "Timing of another tenant's own room while eight masked ones are asked for (not promised)",
        PAIRS,
        pair_rows(times),
    )


@pytest.mark.wall
@pytest.mark.usefixtures("rooms")
async def test_livekits_own_answers_by_name_are_measured_beside_them(
    real_livekit_on_redis: RealLiveKit, http_session: aiohttp.ClientSession, wall: FullCounts
) -> None:
    twirp = TwirpCaller(http_session, real_livekit_on_redis)
    authorization = f"Bearer {twirp.token({'roomList': True}, lives=3600)}"
    sizes: dict[str, int] = {}

    async def ask(name: str) -> None:
        message = proto.ListRoomsRequest(names=[name])
        answer = await twirp.send("ListRooms", message, authorization=authorization)
        assert answer.status == 200
        sizes[name] = len(answer.body)

    times = await sampled(
        wall, "LiveKit's own answers", KINDS, wall.count(SAMPLES, short=20), of_kinds(ask), at_once=1
    )
    wall.record("Timing of LiveKit's own answers, asked directly (not ours)", PAIRS, pair_rows(times))
    # This is why there is something to hide: a room that exists makes a longer answer.
    assert {sizes[name] for name in names_of("absent")} == {0}
    assert min(sizes[name] for name in names_of("foreign")) > 0


LARGE = {
    "absent": None,
    "another tenant's, 1 KiB": foreign_metadata(KIB),
    "another tenant's, 64 KiB": foreign_metadata(64 * KIB),
    "another tenant's, 512 KiB": foreign_metadata(512 * KIB),
    "nobody's, 64 KiB of arrays": '{"auth_id":"acme","x":' + ("[" * 127 + "]" * 127 + ",") * 252 + "0",
    "nobody's, 512 KiB of owners": "{" + '"auth_id":"acme",' * 30_000 + '"x":0}',
}


@pytest.mark.wall
async def test_what_large_metadata_costs_is_measured(
    walled_on_redis: Callers, real_livekit_on_redis: RealLiveKit, wall: FullCounts
) -> None:
    names = {kind: f"room-{number:09}" for number, kind in enumerate(LARGE)}
    for kind, text in LARGE.items():
        if text is not None:
            await real_livekit_on_redis.create_room(names[kind], metadata=text)
    async with grpc.aio.insecure_channel(walled_on_redis.stack.grpc_address) as channel:
        ask = over_grpc(channel)
        times = await sampled(
            wall,
            "large metadata",
            list(LARGE),
            wall.count(500, short=3),
            lambda kind: ask(names[kind]),
            at_once=1,
        )
    rows = [
        [kind, f"{len(each):,}", f"{statistics.median(each) / 1000:.2f}", f"{max(each) / 1000:.2f}"]
        for kind, each in times.items()
    ]
    columns = ("Room", "Samples", "Median, ms", "Longest, ms")
    wall.record("Masked answers and large metadata (not promised)", columns, rows)


UPSTREAM_CASES: dict[str, list[str | None]] = {
    "absent": [None],
    "foreign": [*METADATA["foreign"], foreign_metadata(64 * KIB), foreign_metadata(512 * KIB)],
    "ownerless": [*OWNERLESS, LARGE["nobody's, 64 KiB of arrays"], LARGE["nobody's, 512 KiB of owners"]],
}


async def test_masked_answers_take_the_same_upstream_calls_whatever_the_metadata(
    livekit_double: LiveKitDouble,
    tmp_path_factory: pytest.TempPathFactory,
    http_session: aiohttp.ClientSession,
) -> None:
    logs = tmp_path_factory.mktemp("upstream")
    calls: dict[tuple[str, int, str], list[tuple[object, ...]]] = {}
    async with (
        running(livekit_double, logs, {"AUTH_REQUIRED": "true"}) as callers,
        grpc.aio.insecure_channel(callers.stack.grpc_address) as channel,
    ):
        doors = {"gRPC": over_grpc(channel), "REST": over_rest(http_session, callers.stack.url)}
        for kind, texts in UPSTREAM_CASES.items():
            for number, text in enumerate(texts):
                if text is not None:
                    livekit_double.put_room("the-room", metadata=text)
                    livekit_double.put_participant("the-room", "somebody")
                for door, ask in doors.items():
                    livekit_double.forget()
                    await ask("the-room")
                    calls[kind, number, door] = [
                        (call.method, call.body, call.grants) for call in livekit_double.requests
                    ]
    body = proto.ListRoomsRequest(names=["the-room"]).SerializeToString()
    once = [("ListRooms", body, {"roomList": True})]
    assert [case for case, made in calls.items() if made != once] == []
    assert len(calls) == 2 * sum(map(len, UPSTREAM_CASES.values()))
