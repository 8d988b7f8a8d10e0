"""The demo's participant."""

from tools.demo_rooms import Guest, LiveKitAccess
from tools.ports import free_tcp_port


async def test_a_participant_who_cannot_join_does_not_end_the_demo() -> None:
    access = LiveKitAccess(
        f"ws://127.0.0.1:{free_tcp_port()}", "key", "secret-of-at-least-32-characters-long"
    )
    async with Guest(access) as guest:
        assert not guest.joined
