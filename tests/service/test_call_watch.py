"""What is told of each call: one record, counts and, where switched on, a span; floods in few lines."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from common.floods import BURST
from service import errors
from service.call_log import CallLog
from service.call_metrics import CallMetrics
from service.call_watch import CallWatch
from service.error_boundary import OUTCOMES
from service.metrics import Metrics
from service.server import running_server
from service.settings import load
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import GET_ROOM, LIST_ROOMS, call
from tests.support.identity_provider import AUDIENCE, ISSUER, ec_key, good_claims, key_set
from tests.support.livekit_double import LiveKitDouble
from tests.support.livekit_faults import PlainText, RawBody, TwirpError

SECRETS = json.dumps(
    [
        {"id": "acme", "secret": "acme-secret"},
        {"id": "globex", "secret": "globex-secret"},
        {"id": "on-call", "secret": "operator-secret", "role": "operator"},
    ]
)


class Watched:
    """A running service, what it has written of calls, and what it counts."""

    def __init__(self, channel: grpc.aio.Channel, metrics: Metrics, livekit: LiveKitDouble) -> None:
        self.channel, self.metrics, self.livekit = channel, metrics, livekit
        self.records: list[dict[str, Any]] = []

    def write(self, level: str, record: dict[str, object]) -> None:
        self.records.append({"level": level, **record})

    async def list_rooms(self, secret: str | None) -> str:
        metadata = () if secret is None else (("authorization", f"Bearer {secret}"),)
        return (await call(self.channel, LIST_ROOMS, metadata=metadata)).reason

    async def get_room(self, name: str, secret: str) -> str:
        metadata = (("authorization", f"Bearer {secret}"), ("x-request-id", "mine-1"))
        return (await call(self.channel, GET_ROOM, pb.GetRoomRequest(room_name=name), metadata)).reason

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"tenantrooms_{name}", labels)


@asynccontextmanager
async def watching(folder: Path, **changes: str) -> AsyncIterator[Watched]:
    """A service with these settings changed; an empty one is taken away."""
    address = f"unix:{folder}/s"
    async with LiveKitDouble() as livekit, grpc.aio.insecure_channel(address) as channel:
        environment = {
            "TENANTROOMS_GRPC_LISTEN": address,
            "AUTH_REQUIRED": "true",
            "AUTH_API_SECRETS_JSON": SECRETS,
            "LIVEKIT_URL": livekit.url,
            "LIVEKIT_API_KEY": livekit.api_key,
            "LIVEKIT_API_SECRET": livekit.api_secret,
            "TENANTROOMS_METRICS_TENANTS": "1",
            **changes,
        }
        settings = load({name: value for name, value in environment.items() if value})
        watched = Watched(channel, Metrics(), livekit)
        livekit.put_room("own", owner="acme")
        livekit.put_participant("own", "somebody")
        async with running_server(settings, watched.metrics, call_log=CallLog(watched.write)):
            yield watched


@pytest.fixture
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    async with watching(tmp_path_factory.mktemp("watched")) as watched:
        yield watched


async def test_a_call_is_one_record_with_its_caller_time_and_questions(watched: Watched) -> None:
    assert await watched.get_room("own", "acme-secret") == "OK"
    (record,) = watched.records
    times = [record.pop("ms"), record.pop("upstream_ms")]
    assert record == {
        "level": "info",
        "event": "rpc answered",
        "rpc": GET_ROOM,
        "code": "OK",
        "request_id": "mine-1",
        "tenant": "acme",
        "upstream_calls": 3,
    }
    assert times[0] > times[1] > 0


async def test_no_record_has_a_room_or_a_secret_and_refusals_are_no_faults(watched: Watched) -> None:
    assert await watched.get_room("canary-room", "acme-secret") == "ROOM_NOT_FOUND"
    assert await watched.list_rooms("canary-token") == "CREDENTIAL_REJECTED"
    assert await watched.list_rooms("operator-secret") == "OK"
    masked, refused, operator = watched.records
    assert (masked["event"], masked["level"], masked["reason"]) == ("rpc refused", "info", "ROOM_NOT_FOUND")
    assert (refused["event"], "tenant" in refused) == ("rpc refused", False)
    assert (operator["operator"], "tenant" in operator) == ("on-call", False)
    assert "canary" not in repr(watched.records)


async def test_the_record_of_a_refused_token_says_why_and_quotes_nothing_and_its_caller_is_not_told(
    tmp_path: Path,
) -> None:
    key, now = ec_key("one"), int(time.time())
    (tmp_path / "keys.json").write_bytes(key_set(key))
    oidc = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "TENANT_CLAIM": "tenant", "JWKS_FILE": "keys.json"}
    good = good_claims(iat=now - 60, exp=now + 300)
    refused = {
        key.token(iat=now - 600, exp=now - 300): "it has expired",
        key.token(**{**good, "aud": "canary-audience"}): "it is meant for another audience",
        key.token(**{**good, "tenant": " canary "}): "its tenant claim is missing or not usable",
        ec_key("canary-kid").token(**good): "0 keys fit it",
        key.token(**{**good, "iss": "https://canary.example"}): "it is no token of the identity provider",
        key.token(**{**good, "canary": float("nan")}): "NaN and Infinity are not JSON",
        "canary-secret": "no secret is like it",
        "canary secret": "8,192 characters",
    }
    settings = {f"TENANTROOMS_OIDC_{name}": value for name, value in oidc.items()}
    settings["TENANTROOMS_OIDC_JWKS_FILE"] = str(tmp_path / "keys.json")
    async with watching(tmp_path, **settings) as watched:
        # Twice each: what is said at most once a minute elsewhere is said of each call here.
        for token, why in [*refused.items(), *refused.items()]:
            outcome = await call(
                watched.channel, LIST_ROOMS, metadata=(("authorization", f"Bearer {token}"),)
            )
            assert outcome.code is grpc.StatusCode.UNAUTHENTICATED
            record = watched.records[-1]
            assert (record["event"], record["request_id"]) == ("rpc refused", outcome.request_id)
            assert why in record["detail"]
            assert record["detail"] not in repr(outcome)
            assert not any(part in repr(watched.records) for part in token.split(".") if len(part) > 12)
        assert "canary" not in repr(watched.records)


async def test_the_records_of_masked_answers_are_alike(watched: Watched) -> None:
    watched.livekit.put_room("foreign", owner="globex")
    watched.livekit.put_room("almost", owner="Acme")
    watched.livekit.put_room("ownerless", metadata='{"auth_id": "acme"')
    for name in ("absent", "foreign", "almost", "ownerless"):
        assert await watched.get_room(name, "acme-secret") == "ROOM_NOT_FOUND"
    # The room goes while its participants are asked for.
    watched.livekit.script("ListParticipants", TwirpError("not_found", "no such room"))
    assert await watched.get_room("own", "acme-secret") == "ROOM_NOT_FOUND"
    vanished = watched.records.pop()
    told = [{key: value for key, value in each.items() if "ms" not in key} for each in watched.records]
    assert told == [told[0]] * 4
    assert vanished.keys() == watched.records[0].keys()


async def test_without_a_livekit_key_calls_fail_and_the_log_says_what_to_set(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with watching(tmp_path, LIVEKIT_API_KEY="", LIVEKIT_API_SECRET="") as watched:
            assert await watched.get_room("own", "acme-secret") == "LIVEKIT_NOT_CONFIGURED"
            assert await watched.list_rooms("acme-secret") == "LIVEKIT_NOT_CONFIGURED"
            assert watched.value("operator_problems_total", problem="not_configured") == 2
    told = [log for log in logs if "LIVEKIT_API_KEY" in log.get("detail", "")]
    assert [(log["event"], log["log_level"]) for log in told] == [
        ("not ready", "error"),
        ("rpc failed", "error"),
        ("rpc failed", "error"),
    ]


async def test_calls_questions_and_waits_are_counted(watched: Watched) -> None:
    assert await watched.get_room("own", "acme-secret") == "OK"
    assert await watched.get_room("foreign", "acme-secret") == "ROOM_NOT_FOUND"
    assert await watched.list_rooms("globex-secret") == "OK"
    assert watched.value("calls_total", rpc="GetRoom", code="OK", reason="") == 1
    assert watched.value("calls_total", rpc="GetRoom", code="NOT_FOUND", reason="ROOM_NOT_FOUND") == 1
    assert watched.value("call_duration_seconds_count", rpc="GetRoom") == 2
    assert watched.value("calls_in_flight") == 0
    asked = {
        question: (
            watched.value("upstream_waits_total", question=question),
            watched.value("upstream_calls_total", question=question, outcome="ok"),
            watched.value("upstream_duration_seconds_count", question=question),
        )
        for question in ("all_rooms", "named_rooms", "participants")
    }
    assert asked == {"all_rooms": (1, 1, 1), "named_rooms": (3, 3, 3), "participants": (1, 1, 1)}
    assert watched.value("upstream_batch_rooms_sum", question="named_rooms") == 3
    assert watched.value("scans_total") == 1


async def test_second_tries_are_counted_though_the_calls_go_well(watched: Watched) -> None:
    for _ in range(3):
        watched.livekit.script("ListRooms", TwirpError("unavailable"))
        assert await watched.list_rooms("acme-secret") == "OK"
    assert watched.value("livekit_retries_total", cause="http_503") == 3
    assert watched.value("upstream_calls_total", question="all_rooms", outcome="ok") == 3
    assert watched.value("upstream_calls_total", question="all_rooms", outcome="unavailable") == 0


async def test_tenants_are_told_apart_up_to_the_bound_only(watched: Watched) -> None:
    for secret in ("acme-secret", "globex-secret", "acme-secret", "operator-secret"):
        await watched.list_rooms(secret)
    assert watched.value("tenant_calls_total", tenant="acme", code="OK") == 2
    assert watched.value("tenant_calls_total", tenant="other", code="OK") == 1
    assert watched.value("tenant_calls_total", tenant="globex", code="OK") is None


NOT_LIVEKIT = [
    (TwirpError("unauthenticated", "canary"), "refused", "key_refused"),
    (RawBody(b"\x0a\x02\xff\xff"), "ok", "corrupt_record"),
    (PlainText(503, "canary"), "unavailable", None),
    (TwirpError("internal", "canary"), "failed", None),
]


@pytest.mark.parametrize(("fault", "outcome", "problem"), NOT_LIVEKIT, ids=lambda each: str(each)[:20])
async def test_a_failed_question_is_counted_by_how_and_by_what_to_do_about_it(
    watched: Watched, fault: Any, outcome: str, problem: str | None
) -> None:
    watched.livekit.script_always("ListRooms", fault)
    await watched.list_rooms("acme-secret")
    assert (watched.value("upstream_calls_total", question="all_rooms", outcome=outcome) or 0) >= 1
    if problem is not None:
        assert watched.value("operator_problems_total", problem=problem) == 1


# --- floods -----------------------------------------------------------------------------------------------


def test_a_flood_of_refusals_is_few_lines_and_how_many_were_left_out() -> None:
    now = [0.0]
    written: list[dict[str, object]] = []
    log = CallLog(lambda _level, record: written.append(record), lambda: now[0])
    for _ in range(1000):
        log.write("UNAUTHENTICATED", "CREDENTIAL_REJECTED", {"rpc": LIST_ROOMS})
    assert len(written) == BURST
    log.write("NOT_FOUND", "ROOM_NOT_FOUND", {"rpc": GET_ROOM})  # another kind is not held back by it
    assert len(written) == BURST + 1
    now[0] = 1.0
    log.write("UNAUTHENTICATED", "CREDENTIAL_REJECTED", {"rpc": LIST_ROOMS})
    assert written[-1]["not_logged"] == 1000 - BURST


def test_what_was_left_out_at_the_end_is_a_record_of_its_own() -> None:
    written: list[dict[str, object]] = []
    log = CallLog(lambda _level, record: written.append(record), lambda: 0.0)
    for _ in range(BURST + 3):
        log.write("UNAUTHENTICATED", "CREDENTIAL_REJECTED", {"rpc": LIST_ROOMS})
    log.close()
    assert written[BURST:] == [
        {
            "event": "records were left out",
            "code": "UNAUTHENTICATED",
            "reason": "CREDENTIAL_REJECTED",
            "not_logged": 3,
        }
    ]


def test_a_tenants_flood_leaves_another_tenants_record_to_be_found() -> None:
    written: list[dict[str, object]] = []
    log = CallLog(lambda _level, record: written.append(record), lambda: 0.0)
    for _ in range(1000):
        log.write("RESOURCE_EXHAUSTED", "RATE_LIMITED", {"rpc": LIST_ROOMS, "tenant": "acme"})
    for who in ({"tenant": "globex"}, {"operator": "on-call"}):
        log.write("RESOURCE_EXHAUSTED", "RATE_LIMITED", {"rpc": LIST_ROOMS, **who})
    assert [record.get("tenant") for record in written[-2:]] == ["globex", None]


def test_calls_that_went_well_are_all_written_and_probes_are_not() -> None:
    written: list[dict[str, object]] = []
    log = CallLog(lambda _level, record: written.append(record))
    for _ in range(100):
        log.write("OK", "", {"rpc": LIST_ROOMS})
        log.write("OK", "", {"rpc": "/grpc.health.v1.Health/Check"})
    assert len(written) == 100


def test_every_outcome_of_the_contract_is_shown_from_the_start() -> None:
    registry = CollectorRegistry()
    CallMetrics(registry, OUTCOMES)
    shown = {
        (sample.labels["code"], sample.labels["reason"])
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "tenantrooms_calls_total"
    }
    assert shown == {*OUTCOMES, ("OK", "")}


def test_what_cannot_be_recorded_changes_nothing_for_the_caller() -> None:
    def fail(_level: str, _record: dict[str, object]) -> None:
        raise OSError

    watch = CallWatch(CallLog(fail))
    watch.ended(LIST_ROOMS, "OK")  # without a call
    assert watch.in_flight.value == 0
    assert errors.LiveKitClockOff.reason == errors.LiveKitRefused.reason
