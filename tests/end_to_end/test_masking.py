"""MATRIX I7: a room that is absent, foreign or ownerless gives the same bytes; date and request id aside."""

from collections.abc import AsyncIterator

import grpc
import pytest

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1 import tenant_rooms_pb2_grpc as pb_grpc
from tests.end_to_end.callers import ACME, Callers, RestAnswer
from tests.support.participants import Participants
from tests.support.real_livekit import RealLiveKit

PER_CALL = {"date", "x-request-id"}
MASKED = ["absent", "foreign", "foreign with people", "ownerless", "ownerless \N{SNOWMAN}/%2F"]


@pytest.fixture
async def rooms(real_livekit: RealLiveKit, participants: Participants) -> None:
    await real_livekit.create_room("own", owner="acme")
    await real_livekit.create_room("foreign", owner="globex")
    await real_livekit.create_room("foreign with people", owner="globex")
    await participants.join("foreign with people", "somebody")
    await real_livekit.create_room("ownerless", metadata='{"auth_id":"acme","auth_id":"acme"}')
    await real_livekit.create_room("ownerless \N{SNOWMAN}/%2F", metadata="")


@pytest.fixture
async def stub(walled: Callers) -> "AsyncIterator[pb_grpc.TenantRoomsAsyncStub]":
    async with grpc.aio.insecure_channel(walled.stack.grpc_address) as channel:
        yield pb_grpc.TenantRoomsStub(channel)


def comparable(answer: RestAnswer) -> tuple[object, ...]:
    headers = [(name, value) for name, value in answer.headers if name.lower() not in PER_CALL]
    return answer.status, headers, answer.body


@pytest.mark.usefixtures("rooms")
async def test_over_rest_the_masked_answers_do_not_differ_in_a_byte(walled: Callers) -> None:
    answers = {name: await walled.rest_room(name, ACME) for name in MASKED}
    assert {answer.status for answer in answers.values()} == {404}
    absent = comparable(answers["absent"])
    assert {name: comparable(answer) for name, answer in answers.items()} == dict.fromkeys(MASKED, absent)


@pytest.mark.usefixtures("rooms")
async def test_over_grpc_the_masked_answers_do_not_differ_in_a_byte(
    stub: "pb_grpc.TenantRoomsAsyncStub",
) -> None:
    answers = {}
    for name in MASKED:
        call = stub.GetRoom(
            pb.GetRoomRequest(room_name=name), metadata=(("authorization", f"Bearer {ACME}"),)
        )
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        answers[name] = (
            failure.value.code(),
            failure.value.details(),
            list(failure.value.initial_metadata()),
            [pair for pair in failure.value.trailing_metadata() if pair[0] not in PER_CALL],
        )
    assert answers == dict.fromkeys(MASKED, answers["absent"])
    assert answers["absent"][0] is grpc.StatusCode.NOT_FOUND


@pytest.mark.usefixtures("rooms")
async def test_head_is_masked_as_get_is(walled: Callers) -> None:
    answers = {name: await walled.rest(f"/livekit/rooms/{name}", ACME, method="HEAD") for name in MASKED[:2]}
    assert comparable(answers["absent"]) == comparable(answers["foreign"])
    assert answers["foreign"].body == b""
