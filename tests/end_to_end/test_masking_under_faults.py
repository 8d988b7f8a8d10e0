"""Rooms that are absent, another's or nobody's answer alike: for every name, whatever LiveKit does.

One and the same name is asked for in each of these states, over REST (the bytes on the socket, HEAD too) and
over gRPC (code, text and all metadata). Only date and request id may differ. LiveKit is asked the same too.

What depends on the room itself is not among the faults: LiveKit could, say, fail for the one record that is
damaged. Nobody who asks can bring that about.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.models import Room

from service.ownership import owner_of
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms.v1 import tenant_rooms_pb2_grpc as pb_grpc
from tests.end_to_end.callers import ACME, Callers, RestAnswer
from tests.end_to_end.conftest import running
from tests.end_to_end.test_room_names import ODD_NAMES
from tests.support.json_texts import any_text, damaged_documents, documents, odd_documents
from tests.support.livekit_answers import TWIRP_STATUS
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import (
    EndlessBody,
    Fault,
    GzipBomb,
    Hang,
    Hold,
    Normal,
    PlainText,
    RawBody,
    Reset,
    Run,
    Truncate,
    TwirpError,
    extra_rooms,
    html_page,
    under_another_name,
)

# Slow when there are 10,000 examples.
pytestmark = pytest.mark.timeout(3600)

PER_CALL: Final = {"date", "x-request-id"}
MASKED: Final = (404, 404, grpc.StatusCode.NOT_FOUND)
LARGEST_METADATA: Final = 1024


@dataclass(frozen=True)
class Answer:
    """What is said of a room through one door, and what LiveKit is asked meanwhile."""

    said: tuple[object, ...]
    asked: tuple[tuple[object, ...], ...]

    @property
    def methods(self) -> list[object]:
        return [method for method, *_ in self.asked]


class Asker:
    """A caller of the tenant acme's, who keeps what can be compared of each answer."""

    def __init__(self, livekit: LiveKitDouble, callers: Callers, channel: grpc.aio.Channel) -> None:
        self.livekit = livekit
        self._callers = callers
        self._stub: pb_grpc.TenantRoomsAsyncStub = pb_grpc.TenantRoomsStub(channel)
        self.doors = (self._get, self._head, self._grpc)

    async def ask(self, name: str, prepare: Callable[[], object] = lambda: None) -> list[Answer]:
        """The answers through every door, one after the other.

        Args:
            name: the room's.
            prepare: makes LiveKit ready; called before each of the questions.
        """
        answers = []
        for door in self.doors:
            prepare()
            self.livekit.forget()
            said = await door(name)
            asked = (
                (call.method, call.body, *call.grants, *sorted(call.headers))
                for call in self.livekit.requests
            )
            answers.append(Answer(said, tuple(asked)))
        return answers

    async def _get(self, name: str) -> tuple[object, ...]:
        return self._compared(await self._callers.rest(_path(name), ACME))

    async def _head(self, name: str) -> tuple[object, ...]:
        return self._compared(await self._callers.rest(_path(name), ACME, method="HEAD"))

    def _compared(self, answer: RestAnswer) -> tuple[object, ...]:
        headers = [(name, value) for name, value in answer.headers if name.lower() not in PER_CALL]
        return answer.status, headers, answer.body

    async def _grpc(self, name: str) -> tuple[object, ...]:
        call = self._stub.GetRoom(
            pb.GetRoomRequest(room_name=name), metadata=(("authorization", f"Bearer {ACME}"),)
        )
        code = await call.code()
        trailers = [pair for pair in await call.trailing_metadata() if pair[0] not in PER_CALL]
        return code, await call.details(), list(await call.initial_metadata()), trailers


def _path(name: str) -> str:
    return f"/livekit/rooms/{quote(name, safe='')}"


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asker]:
    settings = {
        "AUTH_REQUIRED": "true",
        "TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES": str(2**20),
        "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": "1",
    }
    async with (
        LiveKitDouble() as double,
        running(double, tmp_path_factory.mktemp("masking"), settings) as callers,
        grpc.aio.insecure_channel(callers.stack.grpc_address) as channel,
    ):
        yield Asker(double, callers, channel)


@pytest.fixture
def asker(shared: Asker) -> Asker:
    shared.livekit.heal()
    return shared


# --- the states in which a room is not the caller's ---------------------------------------------------------


def absent(livekit: LiveKitDouble, name: str) -> None:
    with contextlib.suppress(KeyError):
        livekit.remove_room(name)


def foreign(livekit: LiveKitDouble, name: str) -> None:
    livekit.put_room(name, owner="globex", active_recording=True, max_participants=9)
    livekit.put_participant(name, "somebody", attributes={"of": "globex"})


def ownerless(livekit: LiveKitDouble, name: str) -> None:
    livekit.put_room(name, metadata='{"auth_id":"acme","auth_id":"acme"}')
    livekit.put_participant(name, "somebody")


def nearly_owned(livekit: LiveKitDouble, name: str) -> None:
    livekit.put_room(name, metadata='{"auth_id":"acme "}', num_participants=3)


STATES: Final = [absent, foreign, ownerless, nearly_owned]


OTHER_NAMES: Final = {
    "dots encoded twice": "%252e%252e",
    "plus signs": "+a++b+",
    "a plus and its encoding": "+%2B",
    "a no-break space": "\u00a0a\u00a0",
    "a tab": "\ta",
    "zero width": "\u200ba",
    "right to left": "\u202ea",
    "a byte order mark": "\ufeffroom",
    "a family": "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}",
    "a flag": "\U0001f1e9\U0001f1ea",
    "a sharp s": "stra\u00dfe",
    "a ligature": "\ufb01n",
    "JSON": '{"auth_id":"acme"}',
    "256 bytes of emoji": "\N{VIDEO CAMERA}" * 64,
    "the last code point": "\U0010ffff",
}


async def said_of_none(asker: Asker) -> list[tuple[object, ...]]:
    """What is said of an absent room with an ordinary name."""
    absent(asker.livekit, "room")
    return said_in(await asker.ask("room"))


def said_in(answers: list[Answer]) -> list[tuple[object, ...]]:
    return [answer.said for answer in answers]


@pytest.mark.parametrize("name", [*ODD_NAMES.values(), *OTHER_NAMES.values()], ids=[*ODD_NAMES, *OTHER_NAMES])
async def test_whatever_its_name(asker: Asker, name: str) -> None:
    masked = await said_of_none(asker)
    said = {}
    for state in STATES:
        state(asker.livekit, name)
        said[state.__name__] = await asker.ask(name)
    absent(asker.livekit, name)
    assert said == dict.fromkeys(said, said["absent"])
    assert said_in(said["absent"]) == masked
    assert [answer.methods for answer in said["absent"]] == [["ListRooms"]] * 3
    assert (masked[0][0], masked[1][0], masked[2][0]) == MASKED


FAULTS: dict[str, Fault] = {
    **{f"Twirp's {code}": TwirpError(code) for code in TWIRP_STATUS},
    **{f"plain {status}": PlainText(status) for status in (400, 401, 403, 404, 413, 429, 500, 502, 503, 504)},
    "an odd 2xx": RawBody(b"", 204),
    "a redirect": RawBody(b"", 307, headers={"Location": "/"}),
    "html": html_page(),
    "html with 404": html_page(404),
    "no protobuf": RawBody(b"\xff\xff\xff"),
    "half a message": RawBody(b"\x0a\x7f\x0a\x01a"),
    "nothing": RawBody(b""),
    "JSON": RawBody(b'{"rooms":[]}', content_type="application/json"),
    "truncated": Truncate(),
    "truncated at once": Truncate(0),
    "reset": Reset(),
    "reset before an answer": Reset(None),
    "endless": EndlessBody(),
    "gzip bomb": GzipBomb(2**22),
    "more rooms than asked for": extra_rooms(
        Room(sid="RM_x", name="x", metadata='{"auth_id":"acme"}'),
        Room(sid="RM_y", name="y", metadata='{"auth_id":"globex"}'),
    ),
    "under the name of a room of the caller's": under_another_name("own"),
    "under an empty name": under_another_name(""),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_whatever_fails_at_the_first_look(asker: Asker, fault: Fault) -> None:
    asker.livekit.script_always("ListRooms", fault)
    said = {}
    for state in STATES:
        state(asker.livekit, "room")
        said[state.__name__] = await asker.ask("room")
    assert said == dict.fromkeys(said, said["absent"])
    assert {method for answer in said["absent"] for method in answer.methods} == {"ListRooms"}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_whatever_fails_behind_the_first_look(asker: Asker, fault: Fault) -> None:
    """Participants of a room that is not the caller's are never asked for, so it cannot be told."""
    masked = await said_of_none(asker)
    asker.livekit.script_always("ListParticipants", fault)
    for state in STATES:
        state(asker.livekit, "room")
        assert said_in(await asker.ask("room")) == masked


# --- a room that is the caller's when it is looked at first, and is not any more when it is looked at again -


def recreated(livekit: LiveKitDouble, name: str) -> None:
    livekit.put_room(name, owner="acme")
    livekit.put_participant(name, "somebody else")


def losing(
    asker: Asker, state: Callable[[LiveKitDouble, str], None], *second_look: Fault
) -> Callable[[], None]:
    """Makes a room of the caller's that comes into this state while its participants are read."""

    def prepare() -> None:
        livekit = asker.livekit
        livekit.heal()
        livekit.put_room("room", owner="acme")
        livekit.put_participant("room", "somebody")
        livekit.script("ListParticipants", Run(after=lambda: state(livekit, "room")))
        if second_look:
            livekit.script("ListRooms", Normal())
            livekit.script_always("ListRooms", *second_look)

    return prepare


async def test_whatever_becomes_of_it_between_the_looks(asker: Asker) -> None:
    masked = await said_of_none(asker)
    for state in (*STATES, recreated):
        answers = await asker.ask("room", losing(asker, state))
        assert said_in(answers) == masked, state
        for answer in answers:
            assert answer.methods == ["ListRooms", "ListParticipants", "ListRooms"]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_whatever_fails_at_the_second_look(asker: Asker, fault: Fault) -> None:
    said = {state.__name__: await asker.ask("room", losing(asker, state, fault)) for state in STATES}
    assert said == dict.fromkeys(said, said["absent"])


async def test_a_room_that_livekit_loses_between_the_calls(asker: Asker) -> None:
    masked = await said_of_none(asker)

    def prepare() -> None:
        asker.livekit.put_room("room", owner="acme")
        asker.livekit.script("ListParticipants", TwirpError("not_found", "room does not exist"))

    assert said_in(await asker.ask("room", prepare)) == masked


@pytest.mark.parametrize("look", ["first", "second"])
async def test_when_livekit_hangs(asker: Asker, look: str) -> None:
    """All rooms are asked for at the same time, as each answer takes until the deadline."""
    livekit = asker.livekit
    rooms = [(f"room {number}", state) for number, state in enumerate(STATES)]
    for door in asker.doors:
        livekit.heal()
        livekit.forget()
        for name, state in rooms:
            (state if look == "first" else recreated)(livekit, name)
        held = Hold(read_first=True)
        livekit.script_always("ListParticipants", held)
        if look == "first":
            livekit.script_always("ListRooms", Hang())
        asking = asyncio.gather(*(door(name) for name, _ in rooms))
        if look == "second":
            for _ in rooms:
                await livekit.next_request("ListParticipants")
            livekit.script_always("ListRooms", Hang())
            for name, state in rooms:
                state(livekit, name)
            held.release()
        answers = await asking
        assert answers == [answers[0]] * len(rooms)
        assert answers[0][0] in {500, grpc.StatusCode.DEADLINE_EXCEEDED}
        assert len(livekit.calls("ListParticipants")) == (0 if look == "first" else len(rooms))
        for name, _ in rooms:
            absent(livekit, name)


# --- every reason for having no owner -----------------------------------------------------------------------


def small(text: str) -> bool:
    try:
        return len(text.encode()) <= LARGEST_METADATA
    except UnicodeEncodeError:  # LiveKit can hold no such text
        return False


@pytest.fixture(scope="module")
async def masked(shared: Asker) -> list[tuple[object, ...]]:
    """What is said of an absent room, by an undisturbed LiveKit from here on."""
    shared.livekit.heal()
    return await said_of_none(shared)


@pytest.mark.wall
@given(
    (documents() | odd_documents() | damaged_documents() | any_text() | st.text(max_size=200)).filter(small)
)
async def test_whatever_its_metadata(shared: Asker, masked: list[tuple[object, ...]], metadata: str) -> None:
    """Asked through all doors at once, as each waits for the even time at which such answers leave."""
    if owner_of(metadata) == "acme":
        return
    shared.livekit.put_room("room", metadata=metadata)
    assert await asyncio.gather(*(door("room") for door in shared.doors)) == masked
