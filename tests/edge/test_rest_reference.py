"""Every example of docs/reference/rest.md, run as it stands there."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.edge.edge_process import EdgeProcess
from tests.edge.fake_service import FakeService

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "rest.md"
CREATED = Timestamp(seconds=1_767_261_600)
ACME = '{"auth_id":"acme"}'


def examples() -> Iterator[tuple[str, str]]:
    """The command and the output of each example."""
    for block in re.findall(r"^```console\n(.*?)^```", REFERENCE.read_text(), re.DOTALL | re.MULTILINE):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = example.partition("\n")
            yield command, output


@pytest.fixture
def service(service: FakeService) -> FakeService:
    service.script.tokens = frozenset({"acme-secret"})
    service.script.rooms = [
        pb.RoomSummary(name="a/b", creation_time=CREATED),
        pb.RoomSummary(name="stand-up", num_participants=1, creation_time=CREATED),
    ]
    participant = pb.Participant(
        sid="PA_hG7sLw9dQmRe",
        identity="user-17",
        name="Desk 17",
        state=pb.PARTICIPANT_STATE_ACTIVE,
        kind=pb.PARTICIPANT_KIND_STANDARD,
        joined_at=Timestamp(seconds=1_767_261_642),
        attributes={"desk": "17"},
        is_publisher=True,
    )
    room = pb.Room(
        name="stand-up", sid="RM_4xTqB2vYzKcP", num_participants=1, creation_time=CREATED, metadata=ACME
    )
    service.script.details = {
        "stand-up": pb.GetRoomResponse(room=room, participants=[participant]),
        "a/b": pb.GetRoomResponse(room=pb.Room(name="a/b", creation_time=CREATED, metadata=ACME)),
    }
    return service


def test_there_are_examples() -> None:
    assert len(list(examples())) >= 8


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples need curl")
@pytest.mark.parametrize(("command", "output"), list(examples()))
async def test_an_example_gives_what_stands_there(
    edge: EdgeProcess, service: FakeService, command: str, output: str
) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = await asyncio.create_subprocess_shell(
        command,
        env={"EDGE": edge.url, "PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert told.decode().replace("\r", "").rstrip("\n") == output.rstrip("\n")
