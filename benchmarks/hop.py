"""Measures the hop from edge to service alone: the same calls as unary ones and by relay, in turn.

    python -m benchmarks.hop [--seconds 3] [--rounds 5]

The service side is a process with the real error boundary, authentication, servicer and use cases, in front
of rooms in memory; the other side is a process with the edge's clients and nothing in front of them. Every
answer is checked. Prints one table: calls per second, the middle time of a call, and the CPU time of each
side per call, as medians over the rounds.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import grpc
import uvloop
from livekit.protocol.models import Room

from edge.relay.client import open_relay
from edge.rooms import Metadata, RoomsClient
from service.auth.api_secrets import ApiSecret, ApiSecrets
from service.auth.authenticator import Authenticator
from service.auth.principal import Scope
from service.authentication import AuthenticationInterceptor
from service.batches import Asker
from service.consistency import Consistency
from service.error_boundary import ErrorBoundary
from service.even_answers import EvenAnswers
from service.named_rooms import OwnedRoom
from service.ownership import Owner, owner_of
from service.participants import Participants
from service.relay.calls import RelayedCalls, handlers_of
from service.relay.servicer import Relay
from service.room_index import ListedRoom
from service.rooms import Rooms
from service.servicer import Servicer, room_summary
from tenantrooms.relay.v1.relay_pb2_grpc import RelayStub, add_RelayServicer_to_server
from tenantrooms.v1.tenant_rooms_pb2 import GetRoomResponse, ListRoomsResponse
from tenantrooms.v1.tenant_rooms_pb2_grpc import add_TenantRoomsServicer_to_server
from tenantrooms_client import LARGEST_PAGE, TenantRoomsClient
from tenantrooms_client.channel import open_channel

TENANTS: Final = 64
ROOMS: Final = 10
CALLERS: Final = (1, 64)
TICKS: Final = os.sysconf("SC_CLK_TCK")


class RoomsInMemory:
    """A directory that has what it is asked for."""

    async def rooms(self, scope: Scope, consistency: Consistency) -> Sequence[ListedRoom]:
        """Ten rooms."""
        return _LISTED

    async def room(self, name: str, asker: Asker) -> OwnedRoom | None:
        """A room of the tenant that its name begins with."""
        metadata = f'{{"auth_id":"{name.partition("/")[0]}"}}'
        room = Room(name=name, sid="RM_1", metadata=metadata)
        return OwnedRoom(room, owner_of(metadata))

    async def participants(self, room_name: str, owner: Owner) -> Participants:
        """Nobody."""
        return Participants()


_LISTED: Final = tuple(
    ListedRoom(Room(name=f"room-{n}", sid=f"RM_{n}").SerializeToString(), owner_of, room_summary)
    for n in range(ROOMS)
)


async def serve(address: str) -> None:
    """Serves both ways until it is killed."""
    secrets = ApiSecrets(ApiSecret(f"tenant-{n}", f"secret-{n}") for n in range(TENANTS))
    interceptors = [
        ErrorBoundary(),
        AuthenticationInterceptor(Authenticator([secrets], required=True)),
    ]
    async with EvenAnswers() as even_answers:
        server = grpc.aio.server(interceptors=interceptors)
        servicer = Servicer(Rooms(RoomsInMemory(), Consistency.FULL, even_answers))
        add_TenantRoomsServicer_to_server(servicer, server)
        add_RelayServicer_to_server(Relay(RelayedCalls(interceptors, handlers_of(servicer))), server)
        server.add_insecure_port(address)
        await server.start()
        await server.wait_for_termination()


class Measured(NamedTuple):
    """One run: calls per second, seconds of the middle call, CPU seconds per call here and there."""

    rate: float
    middle: float
    client_cpu: float
    server_cpu: float


class UnaryRooms:
    """The typed client's unary calls, as the edge would make them without the relay."""

    def __init__(self, client: TenantRoomsClient) -> None:
        self._client = client

    async def list_rooms_page(
        self, page_token: str, *, token: str | None, deadline: float, metadata: Metadata
    ) -> bytes:
        """One page, encoded."""
        page = await self._client.list_rooms_page(
            page_size=LARGEST_PAGE,
            page_token=page_token,
            token=token,
            timeout=deadline - asyncio.get_running_loop().time(),
            metadata=metadata,
        )
        return page.SerializeToString()

    async def get_room(
        self, room_name: str, *, token: str | None, deadline: float, metadata: Metadata
    ) -> bytes:
        """One room, encoded."""
        timeout = deadline - asyncio.get_running_loop().time()
        details = await self._client.get_room(room_name, token=token, timeout=timeout, metadata=metadata)
        return details.SerializeToString()


async def measure(client: RoomsClient, rpc: str, callers: int, seconds: float, server: int) -> Measured:
    """So many callers, each with one call after the other."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()

    async def call(number: int) -> None:
        tenant = number % TENANTS
        while (began := time.perf_counter()) < end:
            deadline = loop.time() + 10
            metadata = [("x-request-id", f"id-{number}")]
            token = f"secret-{tenant}"
            if rpc == "GetRoom":
                name = f"tenant-{tenant}/room"
                answer = await client.get_room(name, token=token, deadline=deadline, metadata=metadata)
                right = GetRoomResponse.FromString(answer).room.name == name
            else:
                answer = await client.list_rooms_page("", token=token, deadline=deadline, metadata=metadata)
                right = len(ListRoomsResponse.FromString(answer).rooms) == ROOMS
            if not right:
                raise AssertionError("a wrong answer")
            times.append(time.perf_counter() - began)

    began, here, there = time.perf_counter(), time.process_time(), cpu_of(server)
    await asyncio.gather(*(call(number) for number in range(callers)))
    took = time.perf_counter() - began
    count = len(times)
    return Measured(
        count / took,
        statistics.median(times),
        (time.process_time() - here) / count,
        (cpu_of(server) - there) / count,
    )


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, int]]:
    """The service's address and process."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{folder}/s"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.hop", "--serve", address
        )
        try:
            async with open_channel(address, None, None) as channel:
                await asyncio.wait_for(channel.channel_ready(), 20)
            yield address, process.pid
        finally:
            process.kill()
            await process.wait()


async def compare(seconds: float, rounds: int) -> None:
    """Measures both ways in turn and prints the table."""
    found: dict[tuple[str, int, str], list[Measured]] = {}
    async with (
        served() as (address, pid),
        TenantRoomsClient(address) as unary,
        open_channel(address, None, None) as channel,
        open_relay(RelayStub(channel).Exchange, unary) as relay,
    ):
        ways: dict[str, RoomsClient] = {"unary": UnaryRooms(unary), "relay": relay}
        for number in range(rounds + 1):
            for rpc in ("GetRoom", "ListRooms"):
                for callers in CALLERS:
                    for way, client in ways.items():
                        run = await measure(client, rpc, callers, seconds if number else 0.5, pid)
                        if number:  # the first warms up
                            found.setdefault((rpc, callers, way), []).append(run)
            print(f"round {number} of {rounds}", file=sys.stderr)
    print("| rpc | callers | way | calls/s | middle, ms | client, CPU µs | service, CPU µs |")
    print("|---|---|---|---|---|---|---|")
    for (rpc, callers, way), runs in found.items():
        rate, middle, here, there = (statistics.median(values) for values in zip(*runs, strict=True))
        print(
            f"| {rpc} | {callers} | {way} | {rate:,.0f} | {middle * 1e3:.2f} "
            f"| {here * 1e6:.0f} | {there * 1e6:.0f} |"
        )


def main() -> None:
    """Reads the arguments and runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hop")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", metavar="ADDRESS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work = serve(arguments.serve) if arguments.serve else compare(arguments.seconds, arguments.rounds)
    uvloop.run(work)


if __name__ == "__main__":
    main()
