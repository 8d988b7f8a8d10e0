"""Request ids: the caller's own where it can be used, else a new one; in the trailers of every answer."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.error_boundary import ErrorBoundary
from service.errors import RoomNotFound
from service.request_id import REQUEST_ID, RequestIds
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import LIST_ROOMS, Context, Metadata, Scripted, call, serving

USABLE = ["a", "0", "req-1.b_C", "x" * 128, "---", "..", "550e8400-e29b-41d4-a716-446655440000"]
UNUSABLE = ["", " ", "a b", " a", "a ", "a/b", "a\n", "a:b", "a\u00e9", "x" * 129, "<script>", "a,b", "\0"]


@pytest.mark.parametrize("given_id", USABLE)
def test_a_usable_id_is_taken_over(given_id: str) -> None:
    assert RequestIds().of([("x-request-id", given_id)]) == given_id


@pytest.mark.parametrize("given_id", UNUSABLE)
def test_an_unusable_id_is_replaced(given_id: str) -> None:
    ids = RequestIds()
    assert ids.of([("x-request-id", given_id)]) not in ("", given_id)


@given(st.text())
def test_whatever_comes_in_the_id_has_the_contracts_form(given_id: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", RequestIds().of([("x-request-id", given_id)]))


def test_the_same_id_twice_is_one_and_two_ids_are_none() -> None:
    assert RequestIds().of([("x-request-id", "a"), ("x-request-id", "a")]) == "a"
    assert RequestIds().of([("x-request-id", "a"), ("x-request-id", "b")]) not in ("a", "b")


@pytest.mark.parametrize("metadata", [None, (), [("x-request-id-bin", b"a")], [("request-id", "a")]])
def test_without_an_id_there_is_a_new_one_each_time(metadata: Metadata | None) -> None:
    one, other = RequestIds(), RequestIds()
    made = [*(one.of(metadata) for _ in range(100)), *(other.of(metadata) for _ in range(100))]
    assert len(set(made)) == 200
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", made_id) for made_id in made)


async def succeed(_request: object, context: Context) -> pb.ListRoomsResponse:
    return pb.ListRoomsResponse(next_page_token=REQUEST_ID.get())


async def fail(_request: object, _context: Context) -> None:
    raise RoomNotFound


@pytest.mark.parametrize("behaviour", [succeed, fail])
async def test_every_answer_names_its_id_in_its_trailers(behaviour: object) -> None:
    async with serving(Scripted(behaviour), ErrorBoundary(RequestIds())) as channel:  # type: ignore[arg-type]
        taken_over = await call(channel, LIST_ROOMS, metadata=[("x-request-id", "mine")])
        replaced = await call(channel, LIST_ROOMS, metadata=[("x-request-id", "not mine")])
        undecodable = await call(channel, LIST_ROOMS, b"\xff", metadata=[("x-request-id", "mine")])
    assert (taken_over.request_id, undecodable.request_id) == ("mine", "mine")
    assert replaced.request_id not in ("", "mine", "not mine")


async def test_the_servicer_finds_the_id_of_its_own_call() -> None:
    async with serving(Scripted(succeed), ErrorBoundary(RequestIds())) as channel:
        for name in ("one", "two"):
            outcome = await call(channel, LIST_ROOMS, metadata=[("x-request-id", name)])
            assert pb.ListRoomsResponse.FromString(outcome.body).next_page_token == name
