"""Participants: what the real server reports of real ones, and that the double reports the same."""

import time

import pytest
from livekit.protocol import models

from tests.support.livekit_double import LiveKitDouble
from tests.support.participants import ParticipantProcess, Participants
from tests.support.real_livekit import RealLiveKit
from tests.support.twirp import TwirpCaller

Kind = models.ParticipantInfo.Kind
State = models.ParticipantInfo.State


@pytest.fixture(params=["real_livekit", "real_livekit_on_redis"])
def livekit(request: pytest.FixtureRequest) -> RealLiveKit:
    found: RealLiveKit = request.getfixturevalue(request.param)
    return found


async def test_a_publisher_a_listener_and_an_agent(
    livekit: RealLiveKit, participant_process: ParticipantProcess
) -> None:
    await livekit.create_room("stage")
    before = int(time.time())
    async with Participants(livekit, participant_process) as participants:
        publisher = await participants.join(
            "stage", "alice", name="Alice", metadata='{"m": 1}', attributes={"role": "host", "": "é"},
            publishes=True,
        )  # fmt: skip
        listener = await participants.join("stage", "bob")
        agent = await participants.join("stage", "helper", kind="agent")
        present = {one.identity: one for one in await livekit.list_participants("stage")}
        # LiveKit counts every few seconds, and never counts agents.
        await livekit.room_until("stage", lambda room: (room.num_participants, room.num_publishers) == (2, 1))
    assert present.keys() == {"alice", "bob", "helper"}
    assert (publisher.name, publisher.metadata) == ("Alice", '{"m": 1}')
    assert dict(publisher.attributes) == {"role": "host", "": "é"}
    assert [one.is_publisher for one in (publisher, listener, agent)] == [True, False, False]
    assert [one.kind for one in (publisher, listener, agent)] == [Kind.STANDARD, Kind.STANDARD, Kind.AGENT]
    assert [track.type for track in publisher.tracks] == [models.TrackType.AUDIO]
    for one in (publisher, listener, agent):
        assert one.sid.startswith("PA_")
        assert one.state == State.ACTIVE
        assert before <= one.joined_at <= time.time()


async def test_whoever_leaves_is_gone_from_the_list(
    livekit: RealLiveKit, participant_process: ParticipantProcess
) -> None:
    await livekit.create_room("stage")
    async with Participants(livekit, participant_process) as participants:
        await participants.join("stage", "alice")
        await participants.join("stage", "bob")
        await participants.leave("stage", "alice")
        assert [one.identity for one in await livekit.list_participants("stage")] == ["bob"]


async def test_a_room_deleted_under_its_participants_is_gone_with_them(
    livekit: RealLiveKit, participant_process: ParticipantProcess
) -> None:
    first = await livekit.create_room("stage")
    async with Participants(livekit, participant_process) as participants:
        await participants.join("stage", "alice", publishes=True)
        await livekit.delete_room("stage")
        assert await livekit.list_rooms("stage") == []
        assert await livekit.list_participants("stage") == []
        assert (await livekit.create_room("stage")).sid != first.sid


async def test_who_may_not_join_is_an_error_that_says_so(
    real_livekit: RealLiveKit, participant_process: ParticipantProcess
) -> None:
    with pytest.raises(RuntimeError, match="failed to join: ConnectError"):
        await participant_process.ask("join", key="k", url=real_livekit.ws_url, token="x", publishes=False)
    with pytest.raises(RuntimeError, match="failed to leave: KeyError"):
        await participant_process.ask("leave", key="k")


async def test_the_double_reports_a_participant_as_the_real_server_does(
    real_livekit: RealLiveKit, participants: Participants, livekit_double: LiveKitDouble
) -> None:
    await real_livekit.create_room("stage")
    real = await participants.join(
        "stage", "alice", name="Alice", metadata="m", attributes={"a": "b"}, publishes=True
    )
    livekit_double.put_room("stage")
    made = livekit_double.put_participant(
        "stage", "alice", name="Alice", metadata="m", attributes={"a": "b"}, is_publisher=True
    )
    assert made.sid[:3] == real.sid[:3]
    assert len(made.sid) == len(real.sid)
    assert abs(made.joined_at - real.joined_at) < 60
    assert made.joined_at_ms // 1000 == made.joined_at
    for field in ("identity", "name", "metadata", "attributes", "state", "kind", "is_publisher"):
        assert getattr(made, field) == getattr(real, field), field


async def test_the_double_counts_participants_as_the_real_server_does(
    livekit_double: LiveKitDouble, twirp_to_double: TwirpCaller
) -> None:
    livekit_double.put_room("stage")
    livekit_double.put_participant("stage", "alice", is_publisher=True)
    livekit_double.put_participant("stage", "bob")
    livekit_double.put_participant("stage", "helper", kind=Kind.AGENT)
    livekit_double.put_participant("stage", "recorder", kind=Kind.EGRESS)
    [room] = await twirp_to_double.list_rooms("stage")
    assert (room.num_participants, room.num_publishers) == (2, 1)
    assert len(await twirp_to_double.list_participants("stage")) == 4
