"""Unary and relayed calls, side by side on one service: the same case gives the same answer, to the byte."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from grpc import StatusCode

from service.server import running_server
from service.settings import load
from tenantrooms.relay.v1 import relay_pb2
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tests.service.grpc_calls import GET_ROOM, LIST_ROOMS, Metadata, Outcome, bearer, call
from tests.service.relay_calls import RelayCaller, relayed, relaying
from tests.service.test_authentication import FORGED, PRESENTED
from tests.service.test_server import ACME, CLOSED, FAULTS, GLOBEX, OPERATOR, TURN_PASSWORD
from tests.support.auth_service import AuthServiceDouble, p256_key, pem
from tests.support.livekit_calls import Fault
from tests.support.livekit_double import LiveKitDouble


class Doors:
    """One service, by its two doors."""

    def __init__(self, channel: grpc.aio.Channel, caller: RelayCaller) -> None:
        self.channel, self.caller = channel, caller

    async def both(self, rpc: str, request: Message | bytes = b"", metadata: Metadata = ()) -> Outcome:
        """What the call gives by either door; it is the same."""
        unary = await call(self.channel, rpc, request, metadata)
        relayed = await self.caller.call(rpc, request, metadata)
        assert told(relayed) == told(unary)
        return relayed


def told(outcome: Outcome) -> tuple[object, ...]:
    """All that must be the same; of a request id that was made up here, that there is one."""
    trailers = dict(outcome.trailers)
    trailers.pop("grpc-retry-pushback-ms", None)  # a relayed answer is always final
    made_up = re.fullmatch("[0-9a-f]{16}", str(trailers["x-request-id"]))
    request_id = "made up" if made_up else trailers["x-request-id"]
    return outcome.code, outcome.details, {**trailers, "x-request-id": request_id}, outcome.body


@asynccontextmanager
async def service(folder: Path, double: LiveKitDouble | None, **settings: str) -> AsyncIterator[Doors]:
    environment = {"TENANTROOMS_GRPC_LISTEN": f"unix:{folder}/s", **settings}
    if double is not None:
        environment |= {"LIVEKIT_URL": double.ws_url, "LIVEKIT_API_KEY": double.api_key}
        environment["LIVEKIT_API_SECRET"] = double.api_secret
    async with (
        running_server(load(environment)),
        grpc.aio.insecure_channel(f"unix:{folder}/s") as channel,
        relaying(channel) as caller,
    ):
        yield Doors(channel, caller)


@pytest.fixture(scope="module")
async def livekit() -> AsyncIterator[LiveKitDouble]:
    async with LiveKitDouble() as double:
        for name, owner in (("own", "acme"), ("own / 2", "acme"), ("foreign", "globex"), ("nobody's", None)):
            double.put_room(name, owner=owner, turn_password=TURN_PASSWORD)
            double.put_participant(name, f"{name} somebody")
        yield double


@pytest.fixture(scope="module")
async def doors(livekit: LiveKitDouble, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    async with service(tmp_path_factory.mktemp("closed"), livekit, **CLOSED) as opened:
        yield opened


@pytest.fixture(scope="module")
async def open_doors(
    livekit: LiveKitDouble, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Doors]:
    secrets = {"AUTH_API_SECRETS_JSON": CLOSED["AUTH_API_SECRETS_JSON"]}
    async with service(tmp_path_factory.mktemp("open"), livekit, **secrets) as opened:
        yield opened


def room(name: str, tenant_id: str | None = None) -> pb.GetRoomRequest:
    return pb.GetRoomRequest(room_name=name, tenant_id=tenant_id)


CASES: dict[str, tuple[str, Message | bytes, str | None, str]] = {
    "a list": (LIST_ROOMS, b"", ACME, "OK"),
    "an operator's list": (LIST_ROOMS, b"", OPERATOR, "OK"),
    "an operator for a tenant": (LIST_ROOMS, pb.ListRoomsRequest(tenant_id="acme"), OPERATOR, "OK"),
    "an operator for nobody": (LIST_ROOMS, pb.ListRoomsRequest(tenant_id="no-such"), OPERATOR, "OK"),
    "a page": (LIST_ROOMS, pb.ListRoomsRequest(page_size=1), ACME, "OK"),
    "a negative page": (LIST_ROOMS, pb.ListRoomsRequest(page_size=-1), ACME, "PAGE_SIZE_INVALID"),
    "a made-up page": (LIST_ROOMS, pb.ListRoomsRequest(page_token="x"), ACME, "PAGE_TOKEN_INVALID"),
    "a consistency to come": (
        LIST_ROOMS,
        pb.ListRoomsRequest(consistency=99),  # type: ignore[arg-type] # on purpose
        ACME,
        "CONSISTENCY_INVALID",
    ),
    "a room": (GET_ROOM, room("own"), ACME, "OK"),
    "a room with a slash": (GET_ROOM, room("own / 2"), ACME, "OK"),
    "an operator's room": (GET_ROOM, room("foreign"), OPERATOR, "OK"),
    "a foreign room": (GET_ROOM, room("foreign"), ACME, "ROOM_NOT_FOUND"),
    "an ownerless room": (GET_ROOM, room("nobody's"), ACME, "ROOM_NOT_FOUND"),
    "an absent room": (GET_ROOM, room("absent"), ACME, "ROOM_NOT_FOUND"),
    "a room's other spelling": (GET_ROOM, room("Own"), ACME, "ROOM_NOT_FOUND"),
    "a blank room": (GET_ROOM, room(" "), ACME, "ROOM_NAME_BLANK"),
    "a room too long": (GET_ROOM, room("x" * 257), ACME, "ROOM_NAME_TOO_LONG"),
    "another tenant": (GET_ROOM, room("own", "globex"), ACME, "OPERATOR_ONLY"),
    "a blank tenant": (GET_ROOM, room("own", " "), OPERATOR, "TENANT_ID_BLANK"),
    "no request": (GET_ROOM, b"\xff\xff", ACME, "REQUEST_MALFORMED"),
    "no request and no credential": (GET_ROOM, b"\xff\xff", None, "CREDENTIAL_MISSING"),
    "no request and a bad credential": (GET_ROOM, b"\xff\xff", "nobody's", "CREDENTIAL_REJECTED"),
    "no credential": (LIST_ROOMS, b"", None, "CREDENTIAL_MISSING"),
}


@pytest.mark.parametrize(("rpc", "request_", "token", "reason"), CASES.values(), ids=CASES)
async def test_a_relayed_call_gets_what_a_unary_call_gets(
    doors: Doors, rpc: str, request_: Message | bytes, token: str | None, reason: str
) -> None:
    assert (await doors.both(rpc, request_, bearer(token))).reason == reason


@pytest.mark.parametrize(("metadata", "_caller"), PRESENTED.values(), ids=PRESENTED)
async def test_a_relayed_credential_is_judged_as_a_unary_calls(
    doors: Doors, open_doors: Doors, metadata: Metadata, _caller: str
) -> None:
    await doors.both(LIST_ROOMS, metadata=metadata)
    await open_doors.both(LIST_ROOMS, metadata=metadata)


async def test_a_stream_gives_no_rights_to_the_calls_on_it(doors: Doors, open_doors: Doors) -> None:
    """Neither by its own metadata nor by calls that came before."""
    async with relaying(doors.channel, bearer(OPERATOR)) as caller:
        assert (await caller.call(LIST_ROOMS)).reason == "CREDENTIAL_MISSING"
        assert (await caller.call(LIST_ROOMS, metadata=bearer(OPERATOR))).code is StatusCode.OK
        assert (await caller.call(LIST_ROOMS)).reason == "CREDENTIAL_MISSING"
        assert (await caller.call(LIST_ROOMS, metadata=FORGED)).reason == "CREDENTIAL_MISSING"
    async with relaying(open_doors.channel, bearer("nobody's")) as caller:
        everybodys = await caller.call(LIST_ROOMS)
        assert everybodys.body == (await open_doors.both(LIST_ROOMS)).body


async def test_request_ids_come_back_by_either_door(doors: Doors) -> None:
    for sent in (["mine.1_2"], ["x" * 128], ["x" * 129], ["no blank s"], ["one", "two"], ["one", "one"]):
        metadata = [*bearer(ACME), *(("x-request-id", value) for value in sent)]
        for name in ("own", "absent"):
            outcome = await doors.both(GET_ROOM, room(name), metadata)
            usable = len(set(sent)) == 1 and " " not in sent[0] and len(sent[0]) < 129
            assert (outcome.request_id == sent[0]) == usable


async def test_masked_answers_cost_the_same_upstream_calls(doors: Doors, livekit: LiveKitDouble) -> None:
    answers = set()
    for name in ("absent", "foreign", "nobody's"):
        livekit.forget()
        answers.add((await doors.caller.call(GET_ROOM, room(name), bearer(ACME))).but_request_id)
        assert [(asked.method, asked.names) for asked in livekit.requests] == [("ListRooms", [name])]
    assert len(answers) == 1


@pytest.mark.parametrize(("fault", "code", "reason"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_of_livekit_is_the_same_by_either_door(
    tmp_path: Path, livekit_double: LiveKitDouble, fault: Fault, code: StatusCode, reason: str
) -> None:
    livekit_double.put_room("own", owner="acme")
    livekit_double.script_always("ListRooms", fault)
    limits = {
        "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": "0.3",
        "TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES": str(2**20),
    }
    async with service(tmp_path, livekit_double, **CLOSED, **limits) as doors:
        for rpc, request in ((LIST_ROOMS, b""), (GET_ROOM, room("own"))):
            outcome = await doors.both(rpc, request, bearer(ACME))
            assert (outcome.code, outcome.reason) == (code, reason)


async def test_without_livekit_the_door_still_holds(tmp_path: Path) -> None:
    async with service(tmp_path, None, **CLOSED) as doors:
        assert (await doors.both(LIST_ROOMS, b"", bearer(ACME))).reason == "LIVEKIT_NOT_CONFIGURED"
        assert (await doors.both(LIST_ROOMS)).reason == "CREDENTIAL_MISSING"


async def test_an_auth_service_is_asked_the_same_by_either_door(
    tmp_path: Path, livekit: LiveKitDouble
) -> None:
    key = p256_key()
    (tmp_path / "key.pem").write_bytes(pem(key))
    forwarded = json.dumps([["accept", "a/b"], ["cookie", "session=1"], ["x-one", "1"], ["x-one", "2"]])
    metadata: Metadata = [
        *bearer("token"),
        ("tenantrooms-forwarded-headers-bin", forwarded.encode()),
        ("x-request-id", "mine"),
    ]
    async with AuthServiceDouble(key, {"token": "acme"}) as auth_service:
        settings = {
            "AUTH_REQUIRED": "true",
            "AUTH_SERVICE_URL": auth_service.url,
            "AUTH_SIGNING_KEY_PATH": str(tmp_path / "key.pem"),
        }
        async with service(tmp_path, livekit, **settings) as doors:
            assert (await doors.both(GET_ROOM, room("own / 2"), metadata)).code is StatusCode.OK
            assert (await doors.both(LIST_ROOMS, b"", metadata)).code is StatusCode.OK
            refused = [*bearer("other"), *metadata[1:]]
            assert (await doors.both(LIST_ROOMS, b"", refused)).reason == "CREDENTIAL_REJECTED"
            broken = [*bearer("token"), ("tenantrooms-forwarded-headers-bin", b"\xff")]
            assert (await doors.both(LIST_ROOMS, b"", broken)).reason == "REQUEST_MALFORMED"
            # Without forwarded headers they are the metadata, to which gRPC adds the name of its library.
            await doors.both(GET_ROOM, room("own"), [*bearer("token"), ("x-mine", "1")])
    questions = [asked.auth_data for asked in auth_service.asked]
    questions[-2]["request_headers"].pop("user-agent")
    assert questions[::2] == questions[1::2]
    assert questions[0]["request_headers"] == {"accept": "a/b", "x-one": "1, 2"}
    assert questions[0]["request_path"] == "/livekit/rooms/own%20%2F%202"


async def test_an_operators_read_is_recorded_alike_by_either_door(
    tmp_path: Path, livekit: LiveKitDouble
) -> None:
    log = tmp_path / "audit.log"
    async with service(tmp_path, livekit, **CLOSED, TENANTROOMS_AUDIT_LOG=str(log)) as doors:
        metadata = [*bearer(OPERATOR), ("x-request-id", "mine")]
        await doors.both(GET_ROOM, room("own"), metadata)
        await doors.both(GET_ROOM, room("absent", "acme"), metadata)
        await doors.both(LIST_ROOMS, b"", metadata)
        await doors.both(LIST_ROOMS, b"", bearer(ACME))
    records = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert len(records) == 6
    for record in records:
        del record["timestamp"]
    assert records[::2] == records[1::2]
    assert {record["request_id"] for record in records} == {"mine"}


async def test_many_tenants_on_one_stream_see_their_own_rooms_only(
    tmp_path: Path, livekit_double: LiveKitDouble
) -> None:
    tenants = [f"tenant-{number}" for number in range(10)]
    for number in range(100):
        livekit_double.put_room(f"{tenants[number % 10]}/{number}", owner=tenants[number % 10])
    secrets = json.dumps([{"id": tenant, "secret": f"secret-of-{tenant}"} for tenant in tenants])
    chance = random.Random(1)  # noqa: S311 (repeatable on purpose)
    asked = {
        call_id: (chance.choice(tenants), chance.choice(tenants), chance.random() < 0.5)
        for call_id in range(1, 601)
    }

    def made(call_id: int) -> relay_pb2.Call:
        tenant, other, lists = asked[call_id]
        metadata = [*bearer(f"secret-of-{tenant}"), ("x-request-id", f"id.{call_id}")]
        name = f"{other}/{tenants.index(other)}"
        rpc, request = (LIST_ROOMS, b"") if lists else (GET_ROOM, room(name).SerializeToString())
        return relayed(rpc, request, metadata, call_id=call_id, milliseconds=60_000)

    async with service(
        tmp_path, livekit_double, AUTH_REQUIRED="true", AUTH_API_SECRETS_JSON=secrets
    ) as doors:
        answering = asyncio.create_task(doors.caller.answers(len(asked)))
        for start in range(1, 601, 25):
            await doors.caller.send(*(made(call_id) for call_id in range(start, start + 25)))
        answers = await answering
    for call_id, (tenant, other, lists) in asked.items():
        outcome = answers[call_id]
        assert outcome.request_id == f"id.{call_id}"
        if lists:
            names = [each.name for each in pb.ListRoomsResponse.FromString(outcome.body).rooms]
            assert len(names) == 10
            assert {name.split("/")[0] for name in names} == {tenant}
        else:
            assert outcome.reason == ("OK" if tenant == other else "ROOM_NOT_FOUND")


async def test_a_tenants_answers_hold_nothing_of_others_nor_livekits_secrets(doors: Doors) -> None:
    for token, visible, hidden in ((ACME, b"own", b"foreign"), (GLOBEX, b"foreign", b"own some")):
        for outcome in (
            await doors.both(LIST_ROOMS, b"", bearer(token)),
            await doors.both(GET_ROOM, room(visible.decode()), bearer(token)),
        ):
            assert visible in outcome.body
            assert hidden not in outcome.everything
            assert TURN_PASSWORD.encode() not in outcome.everything
