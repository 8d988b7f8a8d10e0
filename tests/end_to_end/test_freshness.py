"""Once a bare reading of LiveKit shows a change, every call that begins later shows it too, under load."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.end_to_end.callers import ACME, GLOBEX, OPERATOR, Callers
from tests.support.real_livekit import RealLiveKit, reported

TOKENS = {"acme": ACME, "globex": GLOBEX}
CHANGES = 30


@asynccontextmanager
async def readers(callers: Callers, names: list[str]) -> AsyncIterator[None]:
    """Callers of every kind that keep readings under way all the time."""

    async def read(number: int) -> None:
        choice = random.Random(number)  # noqa: S311 (no secret)
        while True:
            token = choice.choice([ACME, GLOBEX, OPERATOR])
            match number % 3:
                case 0:
                    await callers.grpc_names(token)
                case 1:
                    await callers.rest_names(token)
                case _:
                    await callers.grpc_reason(choice.choice(names), token)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read(number)) for number in range(6)]
        yield
        for task in tasks:
            task.cancel()


async def owners_seen(callers: Callers, name: str) -> dict[str, str | None]:
    """Whose the room is, by each way of asking, each asked now."""

    def owner(found: dict[str, bool]) -> str | None:
        owners = [tenant for tenant, visible in found.items() if visible]
        assert len(owners) < 2
        return owners[0] if owners else None

    return {
        "gRPC list": owner({who: name in await callers.grpc_names(token) for who, token in TOKENS.items()}),
        "REST list": owner({who: name in await callers.rest_names(token) for who, token in TOKENS.items()}),
        "gRPC room": owner(
            {who: await callers.grpc_reason(name, token) == "ok" for who, token in TOKENS.items()}
        ),
        "REST room": owner(
            {who: (await callers.rest_room(name, token)).status == 200 for who, token in TOKENS.items()}
        ),
    }


def random_changes() -> Iterator[tuple[str, str | None]]:
    """Rooms and their next owners; None deletes."""
    choice = random.Random(20)  # noqa: S311 (no secret)
    for _ in range(CHANGES):
        yield choice.choice(["fresh-a", "fresh-b", "fresh-c"]), choice.choice(["acme", "globex", None])


@pytest.mark.parametrize("way", ["recreate", "re-own"])
async def test_a_change_that_livekit_shows_is_in_every_later_answer(
    real_livekit: RealLiveKit, walled: Callers, way: str
) -> None:
    owners: dict[str, str | None] = {}
    async with readers(walled, ["fresh-a", "fresh-b", "fresh-c"]):
        for name, owner in random_changes():
            exists = owners.get(name) is not None
            if exists and (owner is None or way == "recreate"):
                await real_livekit.delete_room(name)
            if owner is not None:
                if exists and way == "re-own":
                    await real_livekit.give_room(name, owner)
                else:
                    await real_livekit.create_room(name, owner=owner)
            owners[name] = owner
            metadata = None if owner is None else f'{{"auth_id": "{owner}"}}'

            async def shown(name: str = name, metadata: str | None = metadata) -> bool | None:
                found = {room.name: room.metadata for room in await real_livekit.list_rooms()}
                by_name = {room.name: room.metadata for room in await real_livekit.list_rooms(name)}
                return (found.get(name) == by_name.get(name) == metadata) or None

            await reported(shown, f"that {name} is {owner}'s")
            assert set((await owners_seen(walled, name)).values()) == {owner}


async def test_a_quicker_list_never_shows_what_is_gone_and_shows_what_came_before_long(
    real_livekit: RealLiveKit, walled: Callers
) -> None:
    async def quick(token: str) -> list[str]:
        rooms = walled.grpc.list_rooms(token=token, consistency=pb.CONSISTENCY_MINIMIZE_LATENCY)
        return [room.name async for room in rooms]

    await real_livekit.create_rooms({"stays": "acme", "goes": "acme", "given": "acme"})
    assert await walled.grpc_names(ACME) == ["given", "goes", "stays"]  # which the quicker list then knows
    assert await quick(ACME) == ["given", "goes", "stays"]
    await real_livekit.delete_room("goes")
    await real_livekit.give_room("given", "globex")

    async def given() -> bool | None:
        (room,) = await real_livekit.list_rooms("given")
        return "globex" in room.metadata or None

    await reported(given, "the new owner")
    assert await quick(ACME) == ["stays"]

    async def in_the_list_of_its_new_owner() -> bool | None:
        return await quick(GLOBEX) == ["given"] or None

    await reported(in_the_list_of_its_new_owner, "nothing: this is our own list")
