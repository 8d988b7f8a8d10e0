"""What an operator sees of both processes: metrics of all workers, one trace through all, and their names."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.edge.edge_process import eventually
from tests.end_to_end.callers import ACME, GLOBEX, Callers
from tests.end_to_end.conftest import running
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import Hold
from tools.ports import free_tcp_port

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Collector:
    """Takes spans as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.bodies = b""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        self.port = free_tcp_port()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (name,) = (
                attribute.value.string_value
                for attribute in resource.resource.attributes
                if attribute.key == "service.name"
            )
            self.spans += [(name, span) for scope in resource.scope_spans for span in scope.spans]
        return web.Response(body=b"", content_type="application/x-protobuf")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"


@pytest.fixture(scope="module")
async def livekit() -> AsyncIterator[LiveKitDouble]:
    async with LiveKitDouble() as double:
        double.put_room("canary-room", owner="acme")
        double.put_participant("canary-room", "somebody")
        yield double


@asynccontextmanager
async def observed(
    livekit: LiveKitDouble, folder: Path, **settings: str
) -> AsyncIterator[tuple[Callers, str, str]]:
    """Both processes, callers, and the addresses of both processes' metrics."""
    ports = free_tcp_port(), free_tcp_port()
    listen = {
        "TENANTROOMS_METRICS_LISTEN": f"127.0.0.1:{ports[0]}",
        "TENANTROOMS_EDGE_METRICS_LISTEN": f"127.0.0.1:{ports[1]}",
    }
    async with running(livekit, folder, {"AUTH_REQUIRED": "true", **listen, **settings}) as callers:
        service, edge = (f"http://127.0.0.1:{port}/metrics" for port in ports)
        yield callers, service, edge


async def shown(url: str) -> dict[str, float]:
    """Every sample at this address, by its name with its labels as the page writes them."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        lines = [line for line in (await answer.text()).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


async def test_one_trace_goes_through_edge_service_and_livekit(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    livekit.forget()
    async with Collector() as collector:
        traces = {
            "TENANTROOMS_TRACES_ENDPOINT": collector.endpoint,
            "TENANTROOMS_EDGE_TRACES_ENDPOINT": collector.endpoint,
        }
        async with observed(livekit, tmp_path, **traces) as (callers, _, _):
            path = f"/livekit/rooms/canary-room?api_key={ACME}"
            answer = await callers.rest(path, None, ("traceparent", TRACEPARENT))
            assert answer.status == 200
        # Both have stopped, so all is sent.
    own = [(name, span) for name, span in collector.spans if span.trace_id.hex() == TRACE]
    names = sorted((name, span.name) for name, span in own)
    assert names == [
        ("tenantrooms-edge", "GET room"),
        ("tenantrooms-service", "livekit ListParticipants"),
        ("tenantrooms-service", "livekit ListRooms"),
        ("tenantrooms-service", "livekit ListRooms"),
        ("tenantrooms-service", "tenantrooms.v1.TenantRooms/GetRoom"),
    ]
    by_name = {span.name: span for _, span in own}
    rest, rpc = by_name["GET room"], by_name["tenantrooms.v1.TenantRooms/GetRoom"]
    assert rest.parent_span_id.hex() == "b7ad6b7169203331"
    assert rpc.parent_span_id == rest.span_id
    questions = [span for _, span in own if span.name.startswith("livekit")]
    assert {span.parent_span_id for span in questions} == {rpc.span_id}
    # LiveKit, or a proxy in front of it, is told too.
    sent = [call.headers["traceparent"] for call in livekit.requests]
    assert sorted(sent) == sorted(f"00-{TRACE}-{span.span_id.hex()}-01" for span in questions)
    request_id = answer.header("x-request-id")
    assert request_id is not None
    assert collector.bodies.count(request_id.encode()) == 2
    for secret in (ACME.encode(), b"canary-room", b"api_key", b"acme"):
        assert secret not in collector.bodies


async def test_callers_who_share_a_question_are_linked_with_it(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    async with Collector() as collector:
        traces = {"TENANTROOMS_TRACES_ENDPOINT": collector.endpoint}
        async with observed(livekit, tmp_path, **traces) as (callers, _, _):
            await asyncio.gather(*(callers.grpc_names(ACME) for _ in range(30)))
    calls = {span.span_id for _, span in collector.spans if span.name.endswith("/ListRooms")}
    questions = [span for _, span in collector.spans if span.name == "livekit ListRooms"]
    calls = {span.span_id for _, span in collector.spans if span.name.startswith("tenantrooms.v1")}
    assert len(calls) == 30
    found = [span.parent_span_id for span in questions]
    found += [link.span_id for span in questions for link in span.links]
    assert len(found) == 30
    assert set(found) == calls


async def test_nothing_is_traced_unless_an_endpoint_is_set(livekit: LiveKitDouble, tmp_path: Path) -> None:
    livekit.forget()
    async with observed(livekit, tmp_path) as (callers, _, _):
        await callers.rest("/livekit/rooms", ACME, ("traceparent", TRACEPARENT))
    assert all("traceparent" not in call.headers for call in livekit.requests)


async def test_all_workers_of_the_edge_count_together(livekit: LiveKitDouble, tmp_path: Path) -> None:
    async with observed(livekit, tmp_path, TENANTROOMS_EDGE_WORKERS="3") as (callers, _, edge):
        assert (await shown(edge))["tenantrooms_edge_workers"] == 3
        answers = await asyncio.gather(*(callers.rest("/livekit/rooms", ACME) for _ in range(40)))
        assert {answer.status for answer in answers} == {200}
        assert (await callers.rest_room("canary-room", GLOBEX)).status == 404
        assert (await callers.rest("/nowhere?api_key=canary")).status == 404

        async def have_streams() -> bool:  # those that had no request may still be opening theirs
            return (await shown(edge))["tenantrooms_edge_relay_streams"] == 3

        await eventually(have_streams)
        found = await shown(edge)
    assert found['tenantrooms_edge_requests_total{route="rooms",status="200"}'] == 40
    assert found['tenantrooms_edge_requests_total{route="room",status="404"}'] == 1
    assert found['tenantrooms_edge_requests_total{route="other",status="404"}'] == 1
    assert found['tenantrooms_edge_service_calls_total{code="OK",rpc="ListRooms"}'] == 40
    assert found['tenantrooms_edge_service_calls_total{code="NOT_FOUND",rpc="GetRoom"}'] == 1
    assert found['tenantrooms_edge_request_duration_seconds_count{route="rooms"}'] == 40
    assert found["tenantrooms_edge_requests_in_flight"] == 0
    for name in ("cpu_seconds_total", "resident_memory_bytes"):
        used = [value for key, value in found.items() if key.startswith(f"tenantrooms_edge_worker_{name}")]
        assert len(used) == 3
        assert min(used) > 0


async def test_a_failed_request_is_found_from_its_metric_to_its_one_line_in_each_log(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    livekit.accept_keys({"another-key": "another-secret-of-thirty-two-bytes-or-more"})
    try:
        async with observed(livekit, tmp_path) as (callers, service, edge):
            answer = await callers.rest("/livekit/rooms", ACME)
            assert answer.status == 500
            assert (await shown(edge))['tenantrooms_edge_requests_total{route="rooms",status="500"}'] == 1
            assert (await shown(service))['tenantrooms_operator_problems_total{problem="key_refused"}'] == 1
            request_id = answer.header("x-request-id")

            async def told() -> bool:
                return all(
                    any(record.get("request_id") == request_id for record in records(log))
                    for log in (callers.stack.edge.log, callers.stack.service.log)
                )

            await eventually(told)
            (at_edge,) = (
                record for record in records(callers.stack.edge.log) if record.get("request_id") == request_id
            )
            (at_service,) = (
                record
                for record in records(callers.stack.service.log)
                if record.get("request_id") == request_id
            )
    finally:
        livekit.accept_keys({livekit.api_key: livekit.api_secret})
    assert (at_edge["status"], at_edge["code"], at_edge["reason"]) == (500, "INTERNAL", "LIVEKIT_FAILED")
    assert (at_service["tenant"], at_service["upstream_failed"]) == ("acme", ["all_rooms"])
    assert "LIVEKIT_API_KEY" in at_service["detail"]


async def test_what_the_edge_refuses_is_counted_by_its_limit_and_so_is_a_rate_store_that_is_away(
    livekit: LiveKitDouble, tmp_path: Path
) -> None:
    settings = {
        "TENANTROOMS_EDGE_ANONYMOUS_RATE": "2/minute",
        "TENANTROOMS_EDGE_RATE_STORE_URL": f"redis://127.0.0.1:{free_tcp_port()}",
        "TENANTROOMS_EDGE_MAX_CALLS_PER_CREDENTIAL": "1",
    }
    async with observed(livekit, tmp_path, **settings) as (callers, _, edge):
        statuses = [(await callers.rest("/livekit/rooms")).status for _ in range(3)]
        assert statuses == [401, 401, 429]
        held = Hold()
        livekit.script_always("ListRooms", held)
        first = asyncio.create_task(callers.rest("/livekit/rooms", ACME))

        async def is_under_way() -> bool:
            return (await shown(edge))["tenantrooms_edge_requests_in_flight"] == 1

        await eventually(is_under_way)
        assert (await callers.rest("/livekit/rooms", ACME)).status == 429
        held.release()
        livekit.heal()
        assert (await first).status == 200
        found = await shown(edge)
        assert found['tenantrooms_edge_refusals_total{limit="anonymous_rate"}'] == 1
        assert found['tenantrooms_edge_refusals_total{limit="credential_calls"}'] == 1
        assert found['tenantrooms_edge_rate_store_total{outcome="failure"}'] >= 1
        assert found['tenantrooms_edge_rate_store_total{outcome="success"}'] == 0

        async def told() -> bool:
            return len(refusals()) == 2

        def refusals() -> list[dict[str, Any]]:
            return [record for record in records(callers.stack.edge.log) if record.get("status") == 429]

        await eventually(told)
    said = [(record["limit"], record["reason"], "code" in record) for record in refusals()]
    assert said == [
        ("anonymous_rate", "RATE_LIMITED", False),
        ("credential_calls", "OVERLOADED", False),
    ]
