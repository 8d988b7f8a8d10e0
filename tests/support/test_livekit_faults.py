"""The double's faults: each really looks on the wire as the reliability matrix wants it."""

import asyncio
import gzip

import aiohttp
import pytest
from google.protobuf.message import DecodeError
from livekit.protocol import room as proto

from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import (
    Alter,
    EndlessBody,
    Fault,
    GzipBomb,
    Hang,
    Hold,
    Mutate,
    PlainText,
    RawBody,
    Reset,
    Run,
    Trickle,
    Truncate,
    TwirpError,
    extra_rooms,
    html_page,
    under_another_name,
)
from tests.support.twirp import TwirpAnswer, TwirpCaller


async def answer_to(twirp: TwirpCaller) -> TwirpAnswer:
    return await twirp.call("ListRooms", roomList=True)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            TwirpError("not_found", "no <room>"),
            (404, "application/json", b'{"code":"not_found","msg":"no \\u003croom\\u003e"}'),
        ),
        (
            TwirpError("internal", "m", status=502, meta={"a": "b"}),
            (502, "application/json", b'{"code":"internal","msg":"m","meta":{"a":"b"}}'),
        ),
        (PlainText(401, "invalid token"), (401, "text/plain; charset=utf-8", b"invalid token")),
        (PlainText(413, "too large"), (413, "text/plain; charset=utf-8", b"too large")),
        (RawBody(b"\xff\xff"), (200, "application/protobuf", b"\xff\xff")),
    ],
)
async def test_an_answer_instead_of_the_right_one(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller, fault: Fault, expected: tuple[object, ...]
) -> None:
    livekit_double.script("ListRooms", fault)
    answer = await answer_to(twirp_to_double)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == expected
    assert livekit_double.requests[0].status == answer.status


async def test_a_page_of_html_with_success(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.script("ListRooms", html_page())
    answer = await answer_to(twirp_to_double)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    with pytest.raises(DecodeError):
        proto.ListRoomsResponse.FromString(answer.body)


async def test_the_right_answer_with_other_bytes(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.put_room("lobby")
    right = (await answer_to(twirp_to_double)).body
    livekit_double.script("ListRooms", Mutate(lambda body: body[:-1]))
    assert (await answer_to(twirp_to_double)).body == right[:-1]


async def test_the_right_answer_with_another_message(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.put_room("lobby")
    livekit_double.script("ListRooms", Alter(lambda message: message.Clear()))
    assert await twirp_to_double.list_rooms("lobby") == []


async def test_rooms_that_nobody_asked_for(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    lobby, other = livekit_double.put_room("lobby"), livekit_double.put_room("other")
    livekit_double.script("ListRooms", extra_rooms(other))
    assert await twirp_to_double.list_rooms("lobby") == [lobby, other]
    assert await twirp_to_double.list_rooms("lobby") == [lobby]


async def test_rooms_under_another_name(livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller) -> None:
    lobby = livekit_double.put_room("lobby")
    livekit_double.script("ListRooms", under_another_name("other"))
    [renamed] = await twirp_to_double.list_rooms("lobby")
    assert (renamed.name, renamed.sid) == ("other", lobby.sid)
    assert await twirp_to_double.list_rooms("other") == []


async def test_an_action_before_or_after_the_rooms_are_read(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    first = livekit_double.put_room("lobby")

    async def recreate() -> None:
        livekit_double.put_room("lobby")

    livekit_double.script("ListRooms", Run(after=recreate))
    assert await twirp_to_double.list_rooms("lobby") == [first]
    [second] = await twirp_to_double.list_rooms("lobby")
    assert second.sid != first.sid
    livekit_double.script("ListRooms", Run(before=lambda: livekit_double.remove_room("lobby")))
    assert await twirp_to_double.list_rooms("lobby") == []


@pytest.mark.parametrize("read_first", [False, True])
async def test_a_held_call_waits_for_its_release(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller, read_first: bool
) -> None:
    old = livekit_double.put_room("lobby")
    held = livekit_double.hold("ListRooms", read_first=read_first)
    calling = asyncio.create_task(twirp_to_double.list_rooms("lobby"))
    await held.reached()
    new = livekit_double.put_room("lobby")
    # A call that is not held overtakes.
    assert await twirp_to_double.list_rooms("lobby") == [new]
    assert not calling.done()
    held.release()
    assert await calling == [old if read_first else new]


async def test_a_held_call_may_fail_once_released(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    held = Hold(then=TwirpError("unavailable"))
    livekit_double.script_always("ListRooms", held)
    calling = [asyncio.create_task(answer_to(twirp_to_double)) for _ in range(3)]
    await held.reached()
    held.release()
    assert [(await call).status for call in calling] == [503] * 3


async def test_a_hanging_call_gets_no_answer(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.script("ListRooms", Hang())
    calling = asyncio.create_task(answer_to(twirp_to_double))
    call = await livekit_double.next_request()
    await twirp_to_double.list_rooms()
    assert not calling.done()
    calling.cancel()
    await call.finished()
    assert call.aborted


async def test_a_trickling_answer_comes_byte_by_byte(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    made = livekit_double.put_room("lobby")
    livekit_double.script("ListRooms", Trickle(seconds_per_byte=0.0001))
    assert await twirp_to_double.list_rooms("lobby") == [made]


async def test_a_trickling_answer_ends_when_its_caller_leaves(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.put_room("lobby")
    livekit_double.script("ListRooms", Trickle())
    calling = asyncio.create_task(answer_to(twirp_to_double))
    call = await livekit_double.next_request()
    calling.cancel()
    await call.finished()
    assert call.aborted


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
async def test_a_truncated_answer_promises_more_than_it_gives(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller, share: float
) -> None:
    livekit_double.put_room("lobby")
    livekit_double.script("ListRooms", Truncate(share))
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer_to(twirp_to_double)
    assert len(await twirp_to_double.list_rooms()) == 1


async def bytes_until_reset(livekit_double: LiveKitDouble, twirp: TwirpCaller) -> bytes:
    """What a bare socket reads of one answer before the connection is reset."""
    host, _, port = livekit_double.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    token = twirp.token({"roomList": True})
    writer.write(
        f"POST /twirp/livekit.RoomService/ListRooms HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n"
        f"Content-Type: application/protobuf\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    read = bytearray()

    async def read_on() -> None:
        while chunk := await reader.read(2**16):
            read.extend(chunk)

    with pytest.raises(ConnectionResetError):
        await read_on()
    writer.close()
    return bytes(read)


async def test_even_an_empty_answer_can_be_truncated(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.script("ListRooms", Truncate(), Trickle())
    for _ in range(2):
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer_to(twirp_to_double)


@pytest.mark.parametrize(("share", "least"), [(None, 0), (0.0, 0), (0.5, 1_000)])
async def test_a_reset_answer_breaks_off_with_a_reset(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller, share: float | None, least: int
) -> None:
    livekit_double.put_room("lobby", metadata="x" * 2_000)
    livekit_double.script_always("ListRooms", Reset(share))
    head, _, body = (await bytes_until_reset(livekit_double, twirp_to_double)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK" if share is not None else b"")
    assert bool(head) == (share is not None)
    assert least <= len(body) < 2_000
    with pytest.raises((aiohttp.ClientOSError, aiohttp.ClientPayloadError)):
        await answer_to(twirp_to_double)
    livekit_double.heal()
    assert len(await twirp_to_double.list_rooms()) == 1


async def test_an_endless_body_goes_on_until_the_caller_leaves(
    livekit_double: LiveKitDouble, http_session: aiohttp.ClientSession, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.script("ListRooms", EndlessBody())
    read = 0
    async with http_session.post(f"{livekit_double.url}/twirp/livekit.RoomService/ListRooms") as response:
        assert response.status == 200
        async for chunk in response.content.iter_any():
            read += len(chunk)
            if read > 20 * 2**20:
                break
    [call] = livekit_double.requests
    await call.finished()
    assert call.aborted


async def test_an_endless_body_ends_after_all(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.script("ListRooms", EndlessBody(chunk=b"\x0a\x00", limit=2_000))
    assert len(await twirp_to_double.list_rooms()) == 1_000


async def test_a_gzip_bomb_is_small_and_unpacks_into_a_valid_list(
    livekit_double: LiveKitDouble, http_session: aiohttp.ClientSession
) -> None:
    livekit_double.script("ListRooms", GzipBomb(unpacked=40 * 2**20))
    async with http_session.post(
        f"{livekit_double.url}/twirp/livekit.RoomService/ListRooms", auto_decompress=False
    ) as response:
        packed = await response.read()
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(packed) < 100_000
    unpacked = gzip.decompress(packed)
    assert len(unpacked) >= 40 * 2**20
    assert len(proto.ListRoomsResponse.FromString(unpacked).rooms) == 0
