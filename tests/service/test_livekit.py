"""What LiveKit is asked, and what its answers and errors mean; the transport is a recording."""

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import room as proto
from livekit.protocol.models import ParticipantInfo

from service.errors import (
    DomainError,
    LiveKitFailed,
    LiveKitRecordCorrupt,
    LiveKitRefused,
    LiveKitUnavailable,
    RoomNotFound,
)
from service.livekit import LiveKit, TwirpAnswer
from service.livekit_tokens import AccessTokens
from service.room_records import decoded_room
from tests.service.recorded_rooms import room, rooms_in

CANARY = "canary-from-upstream"


class RecordingTransport:
    """Gives one answer to every call, and remembers the calls."""

    def __init__(self, answer: TwirpAnswer) -> None:
        self.answer = answer
        self.calls: list[tuple[str, str, bytes]] = []

    async def post(self, method: str, token: str, body: bytes) -> TwirpAnswer:
        self.calls.append((method, token, body))
        return self.answer

    def grants(self) -> Any:
        """The grants of the one call's token."""
        ((_, token, _),) = self.calls
        return jwt.decode(token, options={"verify_signature": False})["video"]


def asking(answer: TwirpAnswer) -> tuple[LiveKit, RecordingTransport]:
    transport = RecordingTransport(answer)
    return LiveKit(transport, AccessTokens("devkey", "a-secret-of-at-least-thirty-two-bytes")), transport


def protobuf(body: bytes) -> TwirpAnswer:
    return TwirpAnswer(200, "application/protobuf", body)


ROOMS = [room("a", "acme"), room("b", "globex"), room("c")]
ROOMS_ANSWER = protobuf(proto.ListRoomsResponse(rooms=ROOMS).SerializeToString())
EMPTY = protobuf(b"")


async def test_all_rooms_are_asked_for_without_names() -> None:
    livekit, transport = asking(ROOMS_ANSWER)
    assert rooms_in(await livekit.list_all_rooms()) == ROOMS
    ((method, _, body),) = transport.calls
    assert (method, proto.ListRoomsRequest.FromString(body)) == ("ListRooms", proto.ListRoomsRequest())
    assert transport.grants() == {"roomList": True}


async def test_rooms_are_asked_for_by_name_each_name_once() -> None:
    livekit, transport = asking(EMPTY)
    assert not await livekit.list_rooms_named(["b/\0", "a", "b/\0"])
    ((method, _, body),) = transport.calls
    assert method == "ListRooms"
    assert proto.ListRoomsRequest.FromString(body).names == ["b/\0", "a"]
    assert transport.grants() == {"roomList": True}


async def test_no_names_are_never_asked_for_as_that_would_mean_all() -> None:
    livekit, transport = asking(ROOMS_ANSWER)
    with pytest.raises(ValueError, match="means every room"):
        await livekit.list_rooms_named([])
    assert transport.calls == []


async def test_participants_are_asked_for_with_a_token_for_their_room_alone() -> None:
    people = [ParticipantInfo(identity="one"), ParticipantInfo(identity="two")]
    livekit, transport = asking(
        protobuf(proto.ListParticipantsResponse(participants=people).SerializeToString())
    )
    assert await livekit.list_participants("a/b") == people
    ((method, _, body),) = transport.calls
    assert method == "ListParticipants"
    assert proto.ListParticipantsRequest.FromString(body) == proto.ListParticipantsRequest(room="a/b")
    assert transport.grants() == {"roomAdmin": True, "room": "a/b"}


def twirp(status: int, code: str) -> TwirpAnswer:
    return TwirpAnswer(status, "application/json", json.dumps({"code": code, "msg": CANARY}).encode())


def text(status: int, body: bytes = CANARY.encode()) -> TwirpAnswer:
    return TwirpAnswer(status, "text/plain", body)


FAILURES: dict[str, tuple[TwirpAnswer, type[DomainError]]] = {
    "internal": (twirp(500, "internal"), LiveKitFailed),
    "unknown": (twirp(500, "unknown"), LiveKitFailed),
    "a missing grant": (twirp(401, "unauthenticated"), LiveKitRefused),
    "permission denied": (twirp(403, "permission_denied"), LiveKitFailed),
    "invalid argument": (twirp(400, "invalid_argument"), LiveKitFailed),
    "bad route": (twirp(404, "bad_route"), LiveKitFailed),
    "resource exhausted": (twirp(429, "resource_exhausted"), LiveKitFailed),
    "unavailable": (twirp(503, "unavailable"), LiveKitUnavailable),
    "deadline exceeded": (twirp(408, "deadline_exceeded"), LiveKitUnavailable),
    "a refused token, in text": (text(401), LiveKitRefused),
    "another server's 404": (text(404), LiveKitFailed),
    "too large, in text": (text(413), LiveKitFailed),
    "a proxy's 502": (text(502), LiveKitUnavailable),
    "a proxy's 503": (text(503), LiveKitUnavailable),
    "a proxy's 504": (text(504), LiveKitUnavailable),
    "an empty 500": (text(500, b""), LiveKitFailed),
    "a redirect": (text(302), LiveKitFailed),
    "no content": (text(204, b""), LiveKitFailed),
    "a page with 200": (TwirpAnswer(200, "text/html", CANARY.encode()), LiveKitFailed),
    "JSON with 200": (TwirpAnswer(200, "application/json", b'{"rooms":[]}'), LiveKitFailed),
    "no media type": (TwirpAnswer(200, "application/octet-stream", b""), LiveKitFailed),
    "no protobuf": (protobuf(b"\xff" + CANARY.encode()), LiveKitFailed),
    "protobuf that breaks off": (protobuf(ROOMS_ANSWER.body[:-1]), LiveKitFailed),
    "an error that is a list": (text(500, b'["code"]'), LiveKitFailed),
    "an error that is a number": (text(500, b"1"), LiveKitFailed),
    "an error without a code": (text(500, b'{"msg":"x"}'), LiveKitFailed),
    "an error with odd members": (text(500, b'{"code":{},"msg":[]}'), LiveKitFailed),
    "an error with an unpaired surrogate": (text(500, rb'{"code":"\ud800","msg":"\udfff"}'), LiveKitFailed),
    "an error that nests": (text(500, b"[" * 100_000), LiveKitFailed),
    "an error with a huge number": (text(500, b"1" * 5_000), LiveKitFailed),
    "an error that is no UTF-8": (text(500, b"\xff\xfe"), LiveKitFailed),
}


@pytest.mark.parametrize(("answer", "failure"), FAILURES.values(), ids=FAILURES)
async def test_every_other_answer_is_a_failure_and_its_text_stays_here(
    answer: TwirpAnswer, failure: type[DomainError]
) -> None:
    livekit, _ = asking(answer)
    for question in (
        livekit.list_all_rooms(),
        livekit.list_rooms_named(["a"]),
        livekit.list_participants("a"),
    ):
        with pytest.raises(DomainError) as raised:
            await question
        assert type(raised.value) is failure
        assert CANARY not in raised.value.text


@pytest.mark.parametrize(
    "said",
    [
        "proto: cannot parse invalid wire-format data",
        "proto:\u00a0cannot parse invalid wire-format data",
        "string field contains invalid UTF-8",
    ],
    ids=["space", "no-break space", "text"],
)
async def test_a_record_that_livekit_cannot_read_is_told_apart_with_where_to_look(said: str) -> None:
    body = json.dumps({"code": "unknown", "msg": said})
    livekit, _ = asking(TwirpAnswer(500, "application/json", body.encode()))
    for question in (livekit.list_all_rooms(), livekit.list_rooms_named(["a"])):
        with pytest.raises(LiveKitRecordCorrupt, match="hash `rooms`"):
            await question
    with pytest.raises(LiveKitRecordCorrupt, match="room_participants:"):
        await livekit.list_participants("a")


async def test_not_found_means_no_such_room_to_participants_and_a_failure_to_lists() -> None:
    livekit, _ = asking(twirp(404, "not_found"))
    with pytest.raises(RoomNotFound):
        await livekit.list_participants("a")
    with pytest.raises(LiveKitFailed):
        await livekit.list_rooms_named(["a"])
    with pytest.raises(LiveKitFailed):
        await livekit.list_all_rooms()


async def test_not_found_counts_with_its_own_status_only() -> None:
    livekit, _ = asking(twirp(500, "not_found"))
    with pytest.raises(LiveKitFailed):
        await livekit.list_participants("a")


async def test_the_log_gets_upstreams_text_short_and_on_one_line() -> None:
    livekit, _ = asking(twirp(500, "internal\n\x1b[31m" + "x" * 10_000))
    with pytest.raises(LiveKitFailed) as raised:
        await livekit.list_all_rooms()
    assert "internal" in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 1_000


@pytest.mark.parametrize("status", [401, 500, 503])
async def test_a_token_that_upstream_quotes_does_not_reach_the_log(status: int) -> None:
    livekit, transport = asking(EMPTY)
    await livekit.list_all_rooms()
    token = transport.calls[0][1]
    for body in (
        f"invalid token: {token}, error: …",
        json.dumps({"code": token, "msg": f"no {token} {token}"}),
    ):
        transport.answer = text(status, body.encode())
        with pytest.raises(DomainError) as raised:
            await livekit.list_all_rooms()
        assert not any(part in str(raised.value) for part in token.split("."))


@pytest.mark.parametrize("encode", [base64.b64encode, binascii.hexlify, quote_from_bytes, bytes.upper])
async def test_a_token_in_any_encoding_does_not_reach_the_log(
    encode: Callable[[bytes], bytes | str],
) -> None:
    livekit, transport = asking(EMPTY)
    await livekit.list_all_rooms()
    token = transport.calls[0][1]
    written = encode(token.encode())
    quoted = written if isinstance(written, str) else written.decode()
    for answer in (
        text(500, f"refused {quoted}".encode()),
        TwirpAnswer(200, f"text/{quoted}", b""),
        TwirpAnswer(503, "application/json", json.dumps({"code": quoted, "msg": quoted}).encode()),
    ):
        transport.answer = answer
        with pytest.raises(DomainError) as raised:
            await livekit.list_all_rooms()
        logged = str(raised.value)
        assert not [start for start in range(0, len(quoted), 24) if quoted[start : start + 24] in logged]


async def test_what_a_person_would_read_stays_in_the_log() -> None:
    livekit, transport = asking(EMPTY)
    said = "dial tcp 10.1.2.3:6379: redis-master.livekit.svc.cluster.local: refused (/etc/livekit.yaml)"
    transport.answer = text(500, said.encode())
    with pytest.raises(LiveKitFailed, match=re.escape(said)):
        await livekit.list_all_rooms()


async def test_a_refused_api_key_tells_the_operator_what_to_compare() -> None:
    livekit, _ = asking(text(401, b"invalid API key: devkey"))
    with pytest.raises(LiveKitRefused, match="LIVEKIT_API_KEY"):
        await livekit.list_all_rooms()


@pytest.mark.parametrize(
    ("said", "what_to_do"),
    [
        ("invalid API key: devkey", "set LIVEKIT_API_KEY to one of"),
        ("invalid token: e.y.J, error: token has invalid claims: token is expired", "clock"),
        ("invalid token: e.y.J, error: token has invalid claims: token is not valid yet", "clock"),
        ("invalid token: e.y.J, error: token signature is invalid", "compare LIVEKIT_API_KEY"),
    ],
)
async def test_a_refusal_tells_the_operator_what_to_set_right_and_quotes_nothing(
    said: str, what_to_do: str
) -> None:
    livekit, _ = asking(text(401, said.encode()))
    with pytest.raises(LiveKitRefused, match=what_to_do) as raised:
        await livekit.list_all_rooms()
    assert "devkey" not in str(raised.value)
    assert "e.y.J" not in str(raised.value)


@pytest.mark.wall
@given(place=st.integers(0, len(ROOMS_ANSWER.body) - 1), bytes_=st.binary(max_size=4))
async def test_a_damaged_answer_is_rooms_or_a_failure(place: int, bytes_: bytes) -> None:  # MATRIX U4
    body = ROOMS_ANSWER.body
    livekit, transport = asking(protobuf(body[:place] + bytes_ + body[place + len(bytes_) :]))
    try:
        for record in await livekit.list_all_rooms():
            decoded_room(record)
    except LiveKitFailed:
        pass
    transport.answer = text(500, body[:place] + bytes_)
    with pytest.raises(LiveKitFailed):
        await livekit.list_participants("a")
