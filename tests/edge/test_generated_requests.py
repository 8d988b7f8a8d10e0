"""schemathesis plays the document against the running edge: all answers are documented ones."""

import asyncio
from typing import Any

import grpc
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.edge.edge_process import EdgeProcess
from tests.edge.fake_service import Failure, FakeService

EXAMPLES = 40
FAILURES = [
    None,
    Failure(grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_REJECTED"),
    Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
    Failure(grpc.StatusCode.INTERNAL),
]


def play(url: str, *, may_fail: bool) -> int:
    """Plays all operations of the document; gives the number of requests."""
    schema = schemathesis.openapi.from_url(f"{url}/docs/openapi.json")
    excluded: list[Any] = [not_a_server_error] if may_fail else []
    requests = 0

    def play_one(operation: APIOperation[Any, Any, Any, Any]) -> None:
        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def request(case: schemathesis.Case[Any]) -> None:
            nonlocal requests
            requests += 1
            case.call_and_validate(base_url=url, excluded_checks=excluded)

        request()

    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        play_one(found.ok())
    return requests


@pytest.fixture
def rooms(service: FakeService) -> None:
    service.script.rooms = [pb.RoomSummary(name="a", num_participants=2)]
    service.script.details["stand-up"] = pb.GetRoomResponse(
        room=pb.Room(name="stand-up", sid="RM_1"),
        participants=[pb.Participant(sid="PA_1", attributes={"a": "b"})],
    )


@pytest.mark.usefixtures("rooms")
@pytest.mark.parametrize("failed", FAILURES, ids=str)
async def test_generated_requests_get_documented_answers(
    edge: EdgeProcess, service: FakeService, failed: Failure | None
) -> None:
    service.script.failure = failed
    # In a thread: the fake service answers in this one.
    assert await asyncio.to_thread(play, edge.url, may_fail=failed is not None) > EXAMPLES
    assert len(service.calls) > EXAMPLES
    assert "unexpected_error" not in edge.log
