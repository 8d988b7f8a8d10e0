"""schemathesis plays the OpenAPI document to the whole, with credentials and without: no 5xx, no leak."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok

from tests.end_to_end.callers import ACME
from tests.end_to_end.conftest import running
from tests.support.full_counts import FullCounts
from tests.support.livekit_double import LiveKitDouble

SHARE_OF_THE_TIME = 0.5
ROUND = 200
CREDENTIALS: tuple[dict[str, str], ...] = (
    {},
    {"Authorization": f"Bearer {ACME}"},
    {"Authorization": "Bearer x"},
)


def play(url: str, ends: float, most: int) -> int:
    """Plays all operations, round by round, until the time is over; gives the number of requests."""
    schema = schemathesis.openapi.from_url(f"{url}/docs/openapi.json")
    requests = 0

    def play_one(operation: Any) -> None:
        @settings(
            max_examples=most,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def request(case: schemathesis.Case[Any]) -> None:
            nonlocal requests
            requests += 1
            answer = case.call(base_url=url, headers=CREDENTIALS[requests % len(CREDENTIALS)])
            assert answer.status_code < 500, (case, answer.content)
            assert b"canary" not in answer.content

        request()

    while requests == 0 or time.monotonic() < ends:
        for found in schema.get_all_operations():
            assert isinstance(found, Ok)
            play_one(found.ok())
    return requests


@pytest.mark.fuzz
async def test_generated_requests_get_no_server_error(tmp_path: Path, fuzz: FullCounts) -> None:
    """MATRIX X3."""
    seconds = fuzz.seconds * SHARE_OF_THE_TIME if fuzz.full else 0.0
    async with LiveKitDouble() as double:
        double.put_room("own", owner="acme")
        double.put_room("foreign", metadata='{"auth_id":"globex","note":"canary"}')
        double.put_participant("foreign", "canary")
        async with running(double, tmp_path, {"AUTH_REQUIRED": "true"}) as callers:
            most = fuzz.count(ROUND, short=15)
            # In a thread: the double answers in this one.
            count = await asyncio.to_thread(play, callers.stack.url, time.monotonic() + seconds, most)
            assert await callers.rest_names(ACME) == ["own"]
        for log in ("service.log", "edge.log"):
            assert "Traceback" not in (tmp_path / log).read_text()
    fuzz.figure("X3 (OpenAPI)", f"{count:,} requests: 0 × 5xx")
