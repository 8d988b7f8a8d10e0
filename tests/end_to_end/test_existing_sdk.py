"""An SDK that was written for the original REST API works unchanged."""

from collections.abc import AsyncIterator

import pytest
from sayna_client import SaynaClient
from sayna_client.errors import SaynaHttpError, SaynaValidationError

from tests.end_to_end.callers import ACME, Callers
from tests.support.participants import Participants
from tests.support.real_livekit import RealLiveKit


@pytest.fixture
async def sdk(walled: Callers) -> AsyncIterator[SaynaClient]:
    client = SaynaClient(walled.stack.url, api_key=ACME, without_audio=True)
    yield client
    await client._http_client.close()


async def test_the_sdk_reads_the_list_and_the_details(
    sdk: SaynaClient, real_livekit: RealLiveKit, participants: Participants
) -> None:
    await real_livekit.create_room("team / standup", owner="acme")
    await real_livekit.create_room("foreign", owner="globex")
    await participants.join("team / standup", "speaker", attributes={"lang": "de"}, publishes=True)
    await participants.join("team / standup", "helper", kind="agent")

    listed = await sdk.get_livekit_rooms()
    assert [room.name for room in listed.rooms] == ["team / standup"]

    room = await sdk.get_livekit_room("team / standup")
    people = {person.identity: person for person in room.participants}
    assert people["speaker"].attributes["lang"] == "de"
    assert (people["speaker"].kind, people["helper"].kind) == ("STANDARD", "AGENT")


async def test_the_sdk_sees_a_foreign_room_as_absent(sdk: SaynaClient, real_livekit: RealLiveKit) -> None:
    await real_livekit.create_room("foreign", owner="globex")
    messages = set()
    for name in ("foreign", "absent"):
        with pytest.raises(SaynaHttpError) as failure:
            await sdk.get_livekit_room(name)
        messages.add(failure.value.message)
    assert messages == {"Not found or not accessible: Room not found or not accessible"}


async def test_the_sdk_understands_a_refused_credential(walled: Callers) -> None:
    client = SaynaClient(walled.stack.url, api_key="wrong", without_audio=True)
    try:
        with pytest.raises(SaynaValidationError, match="unauthorized"):
            await client.get_livekit_rooms()
    finally:
        await client._http_client.close()
