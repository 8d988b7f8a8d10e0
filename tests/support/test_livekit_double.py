"""The LiveKit double: what it records, how tests set it up, and how it runs."""

import asyncio
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest
from livekit.protocol import models
from livekit.protocol import room as proto

from tests.support.certificates import self_signed
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import Hang, Normal, TwirpError
from tests.support.twirp import TwirpCaller


async def test_every_call_is_recorded_with_what_it_asked_for(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.put_room("lobby")
    await twirp_to_double.list_rooms("lobby", "b")
    await twirp_to_double.list_participants("lobby")
    rooms, participants = livekit_double.requests
    assert (rooms.method, rooms.names, rooms.room) == ("ListRooms", ["lobby", "b"], None)
    assert (participants.method, participants.names, participants.room) == ("ListParticipants", [], "lobby")
    assert rooms.grants == {"roomList": True}
    assert participants.grants == {"roomAdmin": True, "room": "lobby"}
    assert rooms.claims is not None
    assert rooms.claims["iss"] == livekit_double.api_key
    assert rooms.headers["Content-Type"] == "application/protobuf"
    assert rooms.body == proto.ListRoomsRequest(names=["lobby", "b"]).SerializeToString()
    await participants.finished()
    assert (rooms.status, rooms.aborted) == (200, False)
    assert rooms.answered is not None
    assert participants.answered is not None
    assert rooms.arrived <= rooms.answered <= participants.arrived <= participants.answered
    assert rooms.connection is participants.connection
    assert livekit_double.calls("ListRooms") == [rooms]


async def test_a_health_check_is_no_call(livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller) -> None:
    assert (await twirp_to_double.send("", verb="GET", path="/")).status == 200
    assert livekit_double.requests == []


async def test_refused_and_unreadable_calls_are_recorded_too(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    await twirp_to_double.send("ListRooms", b"\xff", authorization="Bearer x")
    [call] = livekit_double.requests
    await call.finished()
    assert (call.status, call.message, call.claims, call.names, call.grants) == (401, None, None, [], {})


async def test_the_next_request_can_be_waited_for_and_comes_once(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    waiting = asyncio.create_task(livekit_double.next_request("ListParticipants"))
    await twirp_to_double.list_rooms()
    await twirp_to_double.list_participants("lobby")
    assert (await waiting).method == "ListParticipants"
    assert (await livekit_double.next_request()).method == "ListRooms"
    await twirp_to_double.list_participants("second")
    assert (await livekit_double.next_request()).room == "second"
    livekit_double.forget()
    assert livekit_double.requests == []


async def test_a_caller_that_leaves_is_recorded(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.script("ListRooms", Hang())
    calling = asyncio.create_task(twirp_to_double.list_rooms())
    call = await livekit_double.next_request()
    assert not call.done.is_set()
    calling.cancel()
    await call.finished()
    assert (call.aborted, call.status) == (True, None)


async def test_scripts_are_used_up_in_order_and_healed(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    async def status() -> int:
        return (await twirp_to_double.call("ListRooms", roomList=True)).status

    livekit_double.script_always("ListRooms", TwirpError("internal"))
    livekit_double.script("ListRooms", Normal(), TwirpError("unavailable"), Normal())
    assert [await status() for _ in range(5)] == [200, 503, 200, 500, 500]
    # Other methods are not concerned.
    assert await twirp_to_double.list_participants("lobby") == []
    livekit_double.heal()
    assert await status() == 200


async def test_a_misspelt_method_cannot_be_scripted_or_looked_for(livekit_double: LiveKitDouble) -> None:
    with pytest.raises(ValueError, match="ListRoom"):
        livekit_double.script("ListRoom", Hang())
    with pytest.raises(ValueError, match="listRooms"):
        livekit_double.calls("listRooms")


async def test_rooms_are_made_given_away_recreated_and_removed(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    made = livekit_double.put_room("lobby", owner="one", num_participants=3, active_recording=True)
    assert await twirp_to_double.list_rooms("lobby") == [made]
    assert (made.metadata, made.num_participants, made.active_recording) == ('{"auth_id": "one"}', 3, True)
    livekit_double.give_room("lobby", "two")
    [given] = await twirp_to_double.list_rooms("lobby")
    assert (given.sid, given.metadata) == (made.sid, '{"auth_id": "two"}')
    livekit_double.put_participant("lobby", "alice")
    recreated = livekit_double.put_room("lobby", owner="one", creation_time=5, turn_password="canary")
    assert await twirp_to_double.list_rooms("lobby") == [recreated]
    assert recreated.sid != made.sid
    assert (recreated.creation_time, recreated.turn_password) == (5, "canary")
    assert await twirp_to_double.list_participants("lobby") == []
    livekit_double.remove_room("lobby")
    assert await twirp_to_double.list_rooms() == []


async def test_participants_come_and_go(livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller) -> None:
    livekit_double.put_room("lobby")
    livekit_double.put_participant("lobby", "alice", joined_at=7)
    livekit_double.put_participant("lobby", "bob")
    livekit_double.remove_participant("lobby", "bob")
    [alice] = await twirp_to_double.list_participants("lobby")
    assert (alice.identity, alice.joined_at, alice.joined_at_ms) == ("alice", 7, 7000)
    with pytest.raises(KeyError):
        livekit_double.put_participant("absent", "alice")


@pytest.mark.parametrize(("kind", "state"), [(0, 0), (4, 2), (17, 99)], ids=["first", "known", "unheard of"])
async def test_participants_of_every_kind_and_state(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller, kind: int, state: int
) -> None:
    livekit_double.put_room("lobby")
    livekit_double.put_participant("lobby", "alice", kind=kind, state=state)
    [alice] = await twirp_to_double.list_participants("lobby")
    assert (alice.kind, alice.state) == (kind, state)


async def test_an_owner_and_metadata_exclude_each_other(livekit_double: LiveKitDouble) -> None:
    with pytest.raises(ValueError, match="not both"):
        livekit_double.put_room("lobby", owner="one", metadata="{}")


async def test_rooms_come_in_no_fixed_order(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    names = [f"room {number}" for number in range(20)]
    for name in names:
        livekit_double.put_room(name)
    orders = [tuple(room.name for room in await twirp_to_double.list_rooms()) for _ in range(8)]
    assert len(set(orders)) > 1
    by_names = [tuple(room.name for room in await twirp_to_double.list_rooms(*names)) for _ in range(8)]
    assert len(set(by_names)) > 1
    assert {tuple(sorted(order)) for order in orders + by_names} == {tuple(sorted(names))}


async def test_a_hundred_thousand_rooms_in_one_list(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    template = livekit_double.put_room("room 0", owner="one")
    rooms = []
    for number in range(100_000):
        room = models.Room()
        room.CopyFrom(template)
        room.name = f"room {number}"
        rooms.append(room)
    livekit_double.put_rooms(rooms)
    assert {room.name for room in await twirp_to_double.list_rooms()} == {room.name for room in rooms}
    assert await twirp_to_double.list_rooms("room 99999") == [rooms[-1]]


async def test_it_stops_with_calls_in_hand_and_starts_again_where_it_was(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    made = livekit_double.put_room("lobby")
    livekit_double.script("ListRooms", Hang())
    calling = asyncio.create_task(twirp_to_double.list_rooms())
    call = await livekit_double.next_request()
    await livekit_double.stop()
    assert call.aborted
    with pytest.raises(aiohttp.ClientError):
        await calling
    with pytest.raises(aiohttp.ClientConnectorError):
        await twirp_to_double.list_rooms()
    await livekit_double.start()
    assert await twirp_to_double.list_rooms() == [made]


@pytest.mark.parametrize("expired", [False, True])
async def test_it_serves_https_to_those_who_trust_its_certificate(tmp_path: Path, expired: bool) -> None:
    certificate = self_signed(tmp_path, expired=expired)
    async with LiveKitDouble(tls=certificate.server_context()) as double:
        assert double.url.startswith("https://127.0.0.1:")
        assert double.ws_url.startswith("wss://127.0.0.1:")

        async def listed(context: ssl.SSLContext | bool) -> list[models.Room]:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
                return await TwirpCaller(session, double).list_rooms()

        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await listed(True)
        if expired:
            with pytest.raises(aiohttp.ClientConnectorCertificateError, match="expired"):
                await listed(certificate.trusting_context())
        else:
            assert await listed(certificate.trusting_context()) == []
        assert len(double.requests) == (0 if expired else 1)


async def test_only_the_loopback_address_is_listened_on(livekit_double: LiveKitDouble) -> None:
    port = int(livekit_double.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.2", port)):
        pass
