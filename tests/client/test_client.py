"""The typed client against a real server: what it sends, what it gives, and when it gives up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import pytest

from service.server import METADATA_OPTIONS
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1.tenant_rooms_pb2_grpc import TenantRoomsServicer, add_TenantRoomsServicer_to_server
from tenantrooms_client import DeadlineExceeded, NotFound, TenantRoomsClient, TenantRoomsError

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


@dataclass
class Received:
    """One call as the server saw it."""

    request: Any
    metadata: list[tuple[str, str | bytes]]
    remaining: float

    def sent(self, *keys: str) -> list[tuple[str, str | bytes]]:
        """The metadata under these keys, in order."""
        return [pair for pair in self.metadata if pair[0] in keys]


async def _nothing(_request: Any, _context: Context) -> Any:
    return pb.GetRoomResponse()  # which is also an empty ListRoomsResponse: no bytes


@dataclass
class Server(TenantRoomsServicer):
    """Remembers the calls, and answers as a test says."""

    target: str = ""
    calls: list[Received] = field(default_factory=list)
    answer: Callable[[Any, Context], Awaitable[Any]] = _nothing

    async def _serve(self, request: Any, context: Context) -> Any:
        metadata = [(key, value) for key, value in context.invocation_metadata() or ()]
        self.calls.append(Received(request, metadata, context.time_remaining() or 0))
        return await self.answer(request, context)

    async def ListRooms(self, request: pb.ListRoomsRequest, context: Context) -> Any:  # noqa: N802
        return await self._serve(request, context)

    async def GetRoom(self, request: pb.GetRoomRequest, context: Context) -> Any:  # noqa: N802
        return await self._serve(request, context)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    servicer = Server()
    running = grpc.aio.server(options=METADATA_OPTIONS)
    add_TenantRoomsServicer_to_server(servicer, running)
    servicer.target = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    await running.start()
    yield servicer
    await running.stop(None)


async def test_a_page_is_asked_for_with_all_its_arguments(server: Server) -> None:
    server.answer = answering(pb.ListRoomsResponse(rooms=[pb.RoomSummary(name="a")], next_page_token="next"))
    async with TenantRoomsClient(server.target) as client:
        page = await client.list_rooms_page(
            tenant_id="", page_size=7, page_token="token", consistency=pb.CONSISTENCY_MINIMIZE_LATENCY
        )
        assert ([room.name for room in page.rooms], page.next_page_token) == (["a"], "next")
        await client.list_rooms_page()
    full, plain = (call.request for call in server.calls)
    assert full == pb.ListRoomsRequest(
        tenant_id="", page_size=7, page_token="token", consistency=pb.CONSISTENCY_MINIMIZE_LATENCY
    )
    assert full.HasField("tenant_id")
    assert plain == pb.ListRoomsRequest()
    assert not plain.HasField("tenant_id")


async def test_a_room_is_asked_for_by_its_exact_name(server: Server) -> None:
    name = " a/%2F\0\u00e9e\u0301 "
    server.answer = answering(pb.GetRoomResponse(room=pb.Room(name=name)))
    async with TenantRoomsClient(server.target) as client:
        assert (await client.get_room(name)).room.name == name
        await client.get_room(name, tenant_id="acme")
    assert [call.request for call in server.calls] == [
        pb.GetRoomRequest(room_name=name),
        pb.GetRoomRequest(room_name=name, tenant_id="acme"),
    ]


def answering(response: Any) -> Callable[[Any, Context], Awaitable[Any]]:
    async def answer(_request: Any, _context: Context) -> Any:
        return response

    return answer


# --- credential and metadata ------------------------------------------------------------------------------

TOKENS: list[tuple[str | None, str | None, list[str]]] = [
    # of the client, of the call, what is sent
    (None, None, []),
    ("own", None, ["Bearer own"]),
    (None, "call's", ["Bearer call's"]),
    ("own", "call's", ["Bearer call's"]),
    (None, "t" * 8192, [f"Bearer {'t' * 8192}"]),
]


@pytest.mark.parametrize(("own", "calls", "sent"), TOKENS, ids=range(len(TOKENS)))
async def test_the_token_of_the_call_goes_before_that_of_the_client(
    server: Server, own: str | None, calls: str | None, sent: list[str]
) -> None:
    async with TenantRoomsClient(server.target, token=own) as client:
        await client.get_room("a", token=calls)
        await client.list_rooms_page(token=calls)
        await collected(client.list_rooms(token=calls))
    for call in server.calls:
        assert call.sent("authorization") == [("authorization", value) for value in sent]


async def test_further_metadata_comes_after_the_credential_and_in_order(server: Server) -> None:
    extra = [("x-request-id", "id-1"), ("authorization", "Bearer"), ("x-a", "2"), ("x-a", "1")]
    async with TenantRoomsClient(server.target, token="own") as client:
        await client.get_room("a", metadata=extra)
        await client.get_room("a", token="call's", metadata=extra[:1])
    first, second = server.calls
    # gRPC keeps the order of the values of one key.
    assert first.sent("authorization") == [("authorization", "Bearer own"), ("authorization", "Bearer")]
    assert first.sent("x-a") == [("x-a", "2"), ("x-a", "1")]
    assert second.sent("authorization") == [("authorization", "Bearer call's")]
    assert first.sent("x-request-id") == second.sent("x-request-id") == [("x-request-id", "id-1")]


@pytest.mark.parametrize("token", ["t0ken\n", "a\tb", "\u00e9", "\0"])
async def test_a_token_that_no_header_can_carry_is_refused_without_being_told(
    server: Server, token: str
) -> None:
    async with TenantRoomsClient(server.target, token=token) as client:
        for call in (client.get_room("a"), client.list_rooms_page(), anext(client.list_rooms())):
            with pytest.raises(ValueError, match="no header can carry") as refusal:
                await call
            assert token not in str(refusal.value)
    assert server.calls == []


# --- walking over pages -----------------------------------------------------------------------------------


async def paged(request: pb.ListRoomsRequest, _context: object) -> pb.ListRoomsResponse:
    """Three rooms on two pages."""
    if request.page_token == "":
        rooms = [pb.RoomSummary(name="a"), pb.RoomSummary(name="b")]
        return pb.ListRoomsResponse(rooms=rooms, next_page_token="2")
    return pb.ListRoomsResponse(rooms=[pb.RoomSummary(name="c")])


async def test_a_walk_goes_over_all_pages_with_the_same_arguments(server: Server) -> None:
    server.answer = paged
    async with TenantRoomsClient(server.target) as client:
        walk = client.list_rooms(
            tenant_id="acme",
            page_size=2,
            consistency=pb.CONSISTENCY_FULLY_CONSISTENT,
            token="t",
            metadata=[("x-request-id", "id-1")],
        )
        assert [room.name async for room in walk] == ["a", "b", "c"]
    first, second = server.calls
    assert (first.request.page_token, second.request.page_token) == ("", "2")
    for call in server.calls:
        assert (call.request.tenant_id, call.request.page_size) == ("acme", 2)
        assert call.request.consistency == pb.CONSISTENCY_FULLY_CONSISTENT
        assert set(call.sent("authorization", "x-request-id")) == {
            ("authorization", "Bearer t"),
            ("x-request-id", "id-1"),
        }


async def test_the_pages_of_a_walk_are_given_whole(server: Server) -> None:
    server.answer = paged
    async with TenantRoomsClient(server.target) as client:
        pages = [page async for page in client.list_rooms_pages(tenant_id="acme", token="t")]
    assert [[room.name for room in page.rooms] for page in pages] == [["a", "b"], ["c"]]
    assert [(call.request.page_token, call.request.page_size) for call in server.calls] == [
        ("", 50_000),
        ("2", 50_000),
    ]
    assert all(call.request.tenant_id == "acme" for call in server.calls)


async def test_a_walk_asks_for_the_largest_pages_and_only_for_those_that_are_used(server: Server) -> None:
    server.answer = paged
    async with TenantRoomsClient(server.target) as client:
        async for room in client.list_rooms():
            assert room.name == "a"
            break
    (call,) = server.calls
    assert call.request.page_size == 50_000


class ClientOfPages(TenantRoomsClient):
    """Takes its pages from here, and remembers the time that each was given."""

    timeouts: list[float]

    async def list_rooms_page(self, *, page_token: str = "", **arguments: Any) -> pb.ListRoomsResponse:
        self.timeouts = [*getattr(self, "timeouts", []), arguments["timeout"]]
        await asyncio.sleep(0.01)
        return await paged(pb.ListRoomsRequest(page_token=page_token), None)


async def test_one_deadline_spans_the_whole_walk_and_the_time_between_pages(server: Server) -> None:
    async with ClientOfPages(server.target) as client:
        async for _ in client.list_rooms(timeout=100):
            await asyncio.sleep(0.02)
        first, second = client.timeouts
        assert 0 < second <= first - 0.05
        assert first <= 100
        client.timeouts = []
        async for _ in client.list_rooms_pages(timeout=100):
            await asyncio.sleep(0.02)
        assert 0 < client.timeouts[1] <= client.timeouts[0] - 0.03
        client.timeouts = []
        await collected(client.list_rooms())
        assert 0 < client.timeouts[0] <= 10


async def collected(rooms: AsyncIterator[pb.RoomSummary], pause: float = 0) -> list[str]:
    names = []
    async for room in rooms:
        names.append(room.name)
        await asyncio.sleep(pause)
    return names


async def test_a_walk_whose_time_is_over_fails(server: Server) -> None:
    server.answer = paged
    async with TenantRoomsClient(server.target) as client:
        with pytest.raises(DeadlineExceeded):
            await collected(client.list_rooms(timeout=0.2), pause=0.15)


async def test_a_walk_fails_with_the_page_that_fails(server: Server) -> None:
    async def fail_later(request: pb.ListRoomsRequest, context: Context) -> pb.ListRoomsResponse:
        if request.page_token:
            await context.abort(grpc.StatusCode.INTERNAL, "no more")
        return await paged(request, context)

    server.answer = fail_later
    async with TenantRoomsClient(server.target) as client:
        walk = client.list_rooms()
        assert [(await anext(walk)).name, (await anext(walk)).name] == ["a", "b"]
        with pytest.raises(TenantRoomsError, match="no more"):
            await anext(walk)


# --- deadlines, errors, closing ---------------------------------------------------------------------------


async def test_the_timeout_of_the_call_goes_before_that_of_the_client(server: Server) -> None:
    async with TenantRoomsClient(server.target, timeout=500) as client:
        await client.get_room("a")
        await client.get_room("a", timeout=50)
        await client.list_rooms_page(timeout=50)
    async with TenantRoomsClient(server.target) as client:
        await client.get_room("a")
    remaining = [call.remaining for call in server.calls]  # gRPC rounds up, by a second at the most
    assert 51 < remaining[0] <= 501
    assert 11 < remaining[1] <= 51
    assert 11 < remaining[2] <= 51
    assert 0 < remaining[3] <= 11


async def test_an_answer_that_does_not_come_is_given_up(server: Server) -> None:
    async def hang(_request: Any, _context: Context) -> None:
        await asyncio.Event().wait()

    server.answer = hang
    async with TenantRoomsClient(server.target, timeout=0.2) as client:
        with pytest.raises(DeadlineExceeded) as late:
            await client.get_room("a")
    assert (late.value.reason, late.value.request_id) == (None, None)


async def test_a_refusal_is_raised_with_its_request_id_and_without_grpcs_own_error(server: Server) -> None:
    async def refuse(_request: Any, context: Context) -> None:
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone", (("x-request-id", "id-1"),))

    server.answer = refuse
    async with TenantRoomsClient(server.target) as client:
        for call in (client.get_room("a"), client.list_rooms_page()):
            with pytest.raises(NotFound) as refused:
                await call
            assert (refused.value.message, refused.value.request_id) == ("gone", "id-1")
            assert refused.value.__suppress_context__


async def test_closing_lets_calls_under_way_finish_for_a_while(server: Server) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def wait(_request: Any, _context: Context) -> pb.GetRoomResponse:
        started.set()
        await release.wait()
        return pb.GetRoomResponse()

    server.answer = wait
    client = TenantRoomsClient(server.target)
    calling = asyncio.create_task(client.get_room("a"))
    await started.wait()
    closing = asyncio.create_task(client.close(grace=30))
    await asyncio.sleep(0)
    release.set()
    assert await calling == pb.GetRoomResponse()
    await closing
    with pytest.raises(grpc.aio.UsageError):
        await client.get_room("a")
