"""Request ids: read from a call's metadata, found by who serves it, and in the trailers of every answer."""

import pytest

from service.error_boundary import ErrorBoundary
from service.errors import RoomNotFound
from service.request_id import REQUEST_ID
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import LIST_ROOMS, Context, Scripted, call, serving


async def succeed(_request: object, context: Context) -> pb.ListRoomsResponse:
    return pb.ListRoomsResponse(next_page_token=REQUEST_ID.get())


async def fail(_request: object, _context: Context) -> None:
    raise RoomNotFound


@pytest.mark.parametrize("behaviour", [succeed, fail])
async def test_every_answer_names_its_id_in_its_trailers(behaviour: object) -> None:
    async with serving(Scripted(behaviour), ErrorBoundary()) as channel:  # type: ignore[arg-type]
        taken_over = await call(channel, LIST_ROOMS, metadata=[("x-request-id", "mine")])
        replaced = await call(channel, LIST_ROOMS, metadata=[("x-request-id", "not mine")])
        of_two = await call(channel, LIST_ROOMS, metadata=[("x-request-id", "mine"), ("x-request-id", "b")])
        elsewhere = await call(
            channel, LIST_ROOMS, metadata=[("x-request-id-bin", b"mine"), ("request-id", "mine")]
        )
        undecodable = await call(channel, LIST_ROOMS, b"\xff", metadata=[("x-request-id", "mine")])
    assert (taken_over.request_id, undecodable.request_id) == ("mine", "mine")
    for made in (replaced, of_two, elsewhere):
        assert made.request_id not in ("", "mine", "not mine", "b")


async def test_the_servicer_finds_the_id_of_its_own_call() -> None:
    async with serving(Scripted(succeed), ErrorBoundary()) as channel:
        for name in ("one", "two"):
            outcome = await call(channel, LIST_ROOMS, metadata=[("x-request-id", name)])
            assert pb.ListRoomsResponse.FromString(outcome.body).next_page_token == name
