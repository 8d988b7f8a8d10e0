"""One room in full, with real participants in it, over REST and gRPC."""

import time

from google.protobuf.json_format import MessageToDict
from livekit.protocol import models

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.end_to_end.callers import ACME, Callers
from tests.support.participants import Participants
from tests.support.real_livekit import RealLiveKit

METADATA = '{ "auth_id":"acme",  "topic": "Grüße \\u2713", "turn_password": "no secret" }'


async def test_a_room_with_a_publisher_a_listener_and_an_agent(
    walled: Callers, real_livekit: RealLiveKit, participants: Participants
) -> None:
    await real_livekit.create_room("standup", metadata=METADATA, max_participants=12)
    speaker = await participants.join(
        "standup",
        "speaker",
        name="Speaker One",
        metadata="m",
        attributes={"lang": "de", "": "x"},
        publishes=True,
    )
    listener = await participants.join("standup", "listener")
    agent = await participants.join("standup", "helper", kind="agent")
    room = await real_livekit.room_until("standup", lambda room: room.num_participants == 2)

    answer = await walled.rest_room("standup", ACME)

    assert answer.status == 200
    assert list(answer.json) == [
        "sid", "name", "num_participants", "max_participants", "creation_time", "metadata",
        "active_recording", "participants",
    ]  # fmt: skip
    shown = dict(answer.json)
    people = {person["identity"]: person for person in shown.pop("participants")}
    assert shown == {
        "sid": room.sid,
        "name": "standup",
        "num_participants": 2,  # LiveKit does not count the agent
        "max_participants": 12,
        "creation_time": room.creation_time,
        "metadata": METADATA,
        "active_recording": False,
    }
    assert abs(shown["creation_time"] - time.time()) < 600
    assert people == {
        one.identity: {
            "sid": one.sid,
            "identity": one.identity,
            "name": name,
            "state": "ACTIVE",
            "kind": kind,
            "joined_at": one.joined_at,
            "metadata": metadata,
            "attributes": attributes,
            "is_publisher": publishes,
        }
        for one, name, kind, metadata, attributes, publishes in (
            (speaker, "Speaker One", "STANDARD", "m", dict(speaker.attributes), True),
            (listener, "", "STANDARD", "", {}, False),
            (agent, "", "AGENT", "", dict(agent.attributes), False),
        )
    }
    assert people["speaker"]["attributes"]["lang"] == "de"

    over_grpc = await walled.grpc.get_room("standup", token=ACME)
    assert over_grpc.room.creation_time.ToMilliseconds() == room.creation_time_ms
    assert (over_grpc.room.sid, over_grpc.room.metadata) == (room.sid, METADATA)
    kinds = {one.identity: one.kind for one in over_grpc.participants}
    assert kinds["helper"] == pb.PARTICIPANT_KIND_AGENT
    assert kinds["speaker"] == pb.PARTICIPANT_KIND_STANDARD
    speaking = next(one for one in over_grpc.participants if one.identity == "speaker")
    assert MessageToDict(speaking)["attributes"] == people["speaker"]["attributes"]
    assert speaking.is_publisher
    assert speaking.joined_at.ToMilliseconds() == speaker.joined_at_ms


async def test_livekits_own_secrets_of_a_room_never_come_through(
    walled: Callers, real_livekit: RealLiveKit
) -> None:
    await real_livekit.create_room("lobby", owner="acme")
    password = next(room.turn_password for room in await real_livekit.list_rooms("lobby"))
    assert password, "LiveKit gave the room a TURN password"
    answers = [
        (await walled.rest_room("lobby", ACME)).body,
        (await walled.rest("/livekit/rooms", ACME)).body,
        (await walled.grpc.get_room("lobby", token=ACME)).SerializeToString(),
        (await walled.grpc.list_rooms_page(token=ACME)).SerializeToString(),
    ]
    assert not [answer for answer in answers if password.encode() in answer]


async def test_an_empty_room_has_an_empty_list_of_participants(
    walled: Callers, real_livekit: RealLiveKit
) -> None:
    room: models.Room = await real_livekit.create_room("empty", owner="acme")
    answer = await walled.rest_room("empty", ACME)
    assert (answer.status, answer.json["participants"], answer.json["sid"]) == (200, [], room.sid)
