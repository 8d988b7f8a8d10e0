"""What a call over the relay carries, and what its caller gets for it."""

import grpc
import pytest

from edge.relay.client import RelayClient
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms_client import LARGEST_PAGE
from tenantrooms_client.errors import (
    DeadlineExceeded,
    Internal,
    NotFound,
    TenantRoomsError,
    Unavailable,
)
from tests.edge.fake_relay import FakeRelay
from tests.edge.relay_calls import asked_for, asking, listing, page, response


async def test_a_call_carries_all_that_a_unary_call_would(client: RelayClient, relay: FakeRelay) -> None:
    listed = listing(
        client,
        token="secret",
        timeout=5.0,
        metadata=[("x-request-id", "id-1"), ("headers-bin", b"\x00\xff")],
    )
    opened = await relay.stream()
    call = await opened.call()
    assert call.method == relay_pb2.METHOD_LIST_ROOMS
    assert pb.ListRoomsRequest.FromString(call.request) == pb.ListRoomsRequest(page_size=LARGEST_PAGE)
    assert {(pair.key, pair.value) for pair in call.metadata} == {
        ("authorization", b"Bearer secret"),
        ("x-request-id", b"id-1"),
        ("headers-bin", b"\x00\xff"),
    }
    assert 0 < call.milliseconds_left <= 5_000
    opened.answer(call, page("a"))
    assert await listed == page("a")


async def test_a_page_of_a_list_goes_on_from_the_page_before(client: RelayClient, relay: FakeRelay) -> None:
    listed = listing(client, page_token="1")
    opened = await relay.stream()
    call = await opened.call()
    request = pb.ListRoomsRequest.FromString(call.request)
    assert request == pb.ListRoomsRequest(page_size=LARGEST_PAGE, page_token="1")
    opened.answer(call, page("b", following="2"))
    assert await listed == page("b", following="2")


async def test_a_call_without_a_credential_has_none(client: RelayClient, relay: FakeRelay) -> None:
    asked = asking(client, "a")
    opened = await relay.stream()
    call = await opened.call()
    assert not call.metadata
    assert 5_000 < call.milliseconds_left <= 10_000
    opened.answer(call, response("a"))
    await asked


async def test_each_caller_gets_its_own_answer_in_whatever_order_they_come(
    client: RelayClient, relay: FakeRelay
) -> None:
    callers = {name: asking(client, name) for name in "abcdefgh"}
    opened = await relay.stream()
    calls = [await opened.call() for _ in callers]
    opened.send(
        *(
            relay_pb2.Answer(id=call.id, response=response(asked_for(call)).SerializeToString())
            for call in reversed(calls)
        )
    )
    for name, caller in callers.items():
        assert (await caller).room.name == name


async def test_calls_that_are_there_together_go_out_together(client: RelayClient, relay: FakeRelay) -> None:
    first = asking(client, "a")
    opened = await relay.stream()
    opened.answer(await opened.call(), response("a"))
    await first
    callers = [asking(client, f"{number}") for number in range(50)]
    for _ in callers:
        call = await opened.call()
        opened.answer(call, response(asked_for(call)))
    assert [(await caller).room.name for caller in callers] == [f"{number}" for number in range(50)]
    assert opened.frames < 10


async def test_an_answer_in_pieces_is_put_together_while_others_come_between(
    client: RelayClient, relay: FakeRelay
) -> None:
    large, small = asking(client, "large"), asking(client, "small")
    opened = await relay.stream()
    calls = {asked_for(call): call for call in (await opened.call(), await opened.call())}
    raw = response("large" * 1_000).SerializeToString()
    opened.send(relay_pb2.Answer(id=calls["large"].id, response=raw[:10], more=True))
    opened.answer(calls["small"], response("small"))
    assert (await small).room.name == "small"
    opened.send(relay_pb2.Answer(id=calls["large"].id, response=raw[10:2_000], more=True))
    opened.send(relay_pb2.Answer(id=calls["large"].id, response=raw[2_000:]))
    assert (await large).room.name == "large" * 1_000


async def test_a_failed_call_raises_what_the_typed_client_raises(
    client: RelayClient, relay: FakeRelay
) -> None:
    opened = await relay.stream()
    for code, reason, expected in (
        (grpc.StatusCode.NOT_FOUND, "ROOM_NOT_FOUND", NotFound),
        (grpc.StatusCode.UNAVAILABLE, "LIVEKIT_UNAVAILABLE", Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, None, DeadlineExceeded),
        (grpc.StatusCode.CANCELLED, None, TenantRoomsError),
    ):
        asked = asking(client, "a")
        opened.fail(await opened.call(), code, reason)
        with pytest.raises(expected) as failure:
            await asked
        assert (failure.value.code, failure.value.reason) == (code, reason)
        assert (failure.value.message, failure.value.request_id) == ("text of the service", "id-1")
    assert not opened.has_calls  # none of them was tried again


async def test_a_failure_makes_pieces_that_came_before_it_void(client: RelayClient, relay: FakeRelay) -> None:
    asked = asking(client, "a")
    opened = await relay.stream()
    call = await opened.call()
    opened.send(relay_pb2.Answer(id=call.id, response=b"piece", more=True))
    opened.fail(call, grpc.StatusCode.DEADLINE_EXCEEDED)
    with pytest.raises(DeadlineExceeded):
        await asked


async def test_a_status_that_cannot_be_understood_is_an_internal_error(
    client: RelayClient, relay: FakeRelay
) -> None:
    asked = asking(client, "a")
    opened = await relay.stream()
    opened.send(relay_pb2.Answer(id=(await opened.call()).id, status=b"\xff"))
    with pytest.raises(Internal) as failure:
        await asked
    assert failure.value.reason is None


async def test_a_status_that_says_ok_is_no_answer(client: RelayClient, relay: FakeRelay) -> None:
    asked = asking(client, "a")
    opened = await relay.stream()
    opened.fail(await opened.call(), grpc.StatusCode.OK)
    with pytest.raises(TenantRoomsError) as failure:
        await asked
    assert failure.value.code is grpc.StatusCode.UNKNOWN
