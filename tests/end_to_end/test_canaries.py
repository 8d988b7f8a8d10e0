"""No secret is ever written or answered: all is driven into failure, with debug logs on, and searched."""

import asyncio
import base64
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import hdrs, web

from edge.settings import EdgeSettings
from service.settings import SECRETS, Settings
from tests.edge.edge_process import environment, eventually
from tests.end_to_end.canary_stage import ROOMS_PATH, Stage, staged
from tests.support import identity_provider as idp
from tests.support.canaries import Canaries
from tests.support.identity_provider import compact, ec_key, good_claims
from tests.support.livekit_answers import JSON, PROTOBUF, TEXT, Answer
from tests.support.livekit_calls import Call, Fault, respond
from tests.support.livekit_faults import (
    EndlessBody,
    GzipBomb,
    Hang,
    PlainText,
    RawBody,
    Reset,
    Truncate,
    TwirpError,
    html_page,
)
from tests.support.raw_grpc import raw_call
from tools.child_process import ChildProcess
from tools.stack import ROOT

LIST_RPC = "/tenantrooms.v1.TenantRooms/ListRooms"


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(tmp_path_factory.mktemp("canaries"), GRPC_VERBOSITY="debug") as stage:
        yield stage


@pytest.fixture(autouse=True)
def _healthy(stage: Stage) -> None:
    stage.livekit.heal()
    stage.auth_service.answer = None
    stage.auth_service.gate.set()
    stage.provider.answer = None


@dataclass(frozen=True)
class Echo:
    """Quotes the caller's own credential back at it, in one of the places where upstreams quote things."""

    write: Callable[[str], Answer]

    async def send(self, call: Call) -> web.StreamResponse:
        return respond(self.write(call.request.headers[hdrs.AUTHORIZATION]))


def _twirp(text: str, status: int = 500) -> Answer:
    return Answer(status, JSON, json.dumps({"code": "internal", "msg": text}).encode())


ECHOES: dict[str, Fault] = {
    "in a Twirp error": Echo(lambda it: _twirp(f"refused {it}")),
    "in a Twirp error after much": Echo(lambda it: _twirp("x" * 150 + it)),
    "as the code": Echo(lambda it: Answer(503, JSON, json.dumps({"code": it, "msg": ""}).encode())),
    "in plain text": Echo(lambda it: Answer(502, TEXT, f"Bad gateway\nAuthorization: {it}\n".encode())),
    "in base64": Echo(lambda it: _twirp(base64.b64encode(it.encode()).decode())),
    "percent-encoded": Echo(lambda it: _twirp("/?t=" + quote(it))),
    "in hex": Echo(lambda it: _twirp(it.encode().hex())),
    "in a refusal": Echo(lambda it: _twirp(f"invalid token: {it}", 401)),
    "as a media type": Echo(lambda it: Answer(200, it.replace("Bearer ", "text/"), b"")),
    "in a redirect": Echo(lambda it: Answer(302, TEXT, b"", {"Location": f"http://127.0.0.1/{it[7:]}"})),
    "in a body that is no protobuf": Echo(lambda it: Answer(200, PROTOBUF, b"\xff" + it.encode())),
    "in an encoding": Echo(lambda it: Answer(200, PROTOBUF, b"", {"Content-Encoding": it[7:]})),
}
FAULTS: dict[str, Fault] = {
    **ECHOES,
    "twirp error": TwirpError("internal"),
    "plain refusal": PlainText(401, "invalid token"),
    "too large": PlainText(413),
    "html": html_page(),
    "no protobuf": RawBody(b"\xff\xff"),
    "truncated": Truncate(),
    "reset": Reset(),
    "reset before an answer": Reset(None),
    "endless": EndlessBody(),
    "gzip bomb": GzipBomb(2**24),
}


@pytest.mark.parametrize("method", ["ListRooms", "ListParticipants"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_no_fault_of_livekits_makes_a_secret_known(stage: Stage, fault: Fault, method: str) -> None:
    stage.livekit.script_always(method, fault)
    for token in (stage.tenant, stage.operator):
        await stage.through_both_doors(token)
    assert await stage.leaks() == {}


async def test_no_deadline_makes_a_secret_known(stage: Stage) -> None:
    for method in ("ListRooms", "ListParticipants"):
        stage.livekit.script_always(method, Hang())
    await stage.at_once(stage.tenant)
    stage.livekit.heal()
    stage.livekit.script_always("ListParticipants", Hang())
    await stage.at_once(stage.tenant)
    stage.auth_service.gate.clear()
    await stage.at_once(stage.delegated)
    assert await stage.leaks() == {}


# What an upstream may be that is no HTTP server, or a broken one: given the request, the bytes that it sends.
NO_HTTP: dict[str, Callable[[bytes], bytes]] = {
    "echoes all": lambda request: request,
    "echoes in the reason": lambda request: b"HTTP/1.1 200 " + _credential(request) + b"\r\n\r\n",
    "echoes in a bad status line": lambda request: b"HTTP/1.1 " + _credential(request) + b" x\r\n\r\n",
    "echoes in a bad header": lambda request: b"HTTP/1.1 200 OK\r\n" + _credential(request) + b"\r\n\r\n",
    "echoes in a header's name": lambda request: (
        b"HTTP/1.1 200 OK\r\n" + _credential(request) + b"\xff\x00 : x\r\n\r\n"
    ),
    "echoes and breaks off": lambda request: b"HTTP/1.1 200 OK\r\nX-Echo: " + _credential(request) + b"\r\n",
    "echoes in a bad length": lambda request: (
        b"HTTP/1.1 200 OK\r\nContent-Length: " + _credential(request) + b"\r\n\r\n"
    ),
    "echoes in a bad chunk": lambda request: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _credential(request) + b"\r\n"
    ),
    "says nothing": lambda _: b"",
}


def _credential(request: bytes) -> bytes:
    """The token in a request to LiveKit, or the question in one to the auth service."""
    head, _, body = request.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name.lower() == b"authorization":
            return value.removeprefix(b"Bearer ")
    return body


@asynccontextmanager
async def broken_server(port: int, answer: Callable[[bytes], bytes]) -> AsyncIterator[list[bytes]]:
    """Answers each request that comes with these bytes; gives what it was sent."""
    sent: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in request.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        request += await reader.readexactly(length)
        sent.append(request)
        writer.write(answer(request))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield sent


@pytest.mark.parametrize("answer", NO_HTTP.values(), ids=NO_HTTP)
async def test_no_server_in_livekits_place_makes_a_secret_known(
    stage: Stage, answer: Callable[[bytes], bytes]
) -> None:
    await stage.livekit.stop()
    try:
        async with broken_server(int(stage.livekit.url.rpartition(":")[2]), answer) as requests:
            await stage.through_both_doors(stage.tenant)
    finally:
        await stage.livekit.start()
    assert requests
    for request in requests:
        stage.plant_jwt("a token for LiveKit", _credential(request).decode())
    assert await stage.leaks() == {}


@pytest.mark.parametrize("answer", NO_HTTP.values(), ids=NO_HTTP)
async def test_no_server_in_the_auth_services_place_makes_a_secret_known(
    stage: Stage, answer: Callable[[bytes], bytes]
) -> None:
    port = int(stage.auth_service.url.removesuffix("/auth").rpartition(":")[2])
    await stage.auth_service.__aexit__()
    try:
        async with broken_server(port, answer) as requests:
            await stage.through_both_doors(stage.delegated)
    finally:
        await stage.auth_service.__aenter__()
    assert requests
    for request in requests:
        stage.plant_jwt("a question to the auth service", _credential(request).decode())
    assert await stage.leaks() == {}


async def test_no_answer_of_the_auth_service_makes_a_secret_known(stage: Stage) -> None:
    def echo(status: int, body: str = "{}", **headers: str) -> Callable[[], web.StreamResponse]:
        return lambda: web.Response(status=status, text=body, headers=headers)

    for answer in (
        echo(200, json.dumps({"id": f" {stage.delegated}"})),
        echo(200, json.dumps({"id": 5, "token": stage.delegated})),
        echo(200, stage.delegated),
        echo(200, "x" * 70_000),
        echo(200, "{}", **{"Content-Encoding": quote(stage.delegated, safe="")}),
        echo(204),
        echo(302, Location=f"http://127.0.0.1/{quote(stage.delegated)}"),
        echo(401, stage.delegated),
        echo(403, stage.delegated),
        echo(500, stage.delegated),
    ):
        stage.auth_service.answer = answer
        await stage.through_both_doors(stage.delegated)
    assert await stage.leaks() == {}


async def test_no_token_of_the_identity_provider_is_made_known(stage: Stage) -> None:
    good = stage.signed()
    head, payload, signature = good.split(".")
    stranger = ec_key("stranger")
    public = json.dumps(stage.provider.keys[0].jwk()).encode()
    unsigned = compact({"alg": "none"}, good_claims(nonce=stage.canaries.make("a nonce", plain=True)))
    tokens = [
        good,
        stage.signed(exp=1),
        stage.signed(iat=2**40),
        stage.signed(aud="another"),
        stage.signed(tenant=" padded "),
        stage.signed(tenant=None),
        stage.signed(key=stranger),
        stage.signed(headers={"kid": "nobody-has-it"}),
        stage.signed(headers={"crit": ["exp"]}),
        stage.signed(headers={"jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/"}),
        stage.signed(headers={"jwk": stranger.jwk()}),
        stage.signed(headers={"x": "y" * 4000}),
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f"{head}.{payload}.{signature}.{signature}",
        f"{unsigned}.",
        f"{compact({'alg': 'HS256'}, good_claims())}.{compact(public)}",
    ]
    for answer in (None, idp.an_answer(503, b"down"), idp.an_answer(200, b"{}")):
        stage.provider.answer = answer
        for token in tokens:
            await stage.through_both_doors(token)
    assert await stage.leaks() == {}


async def test_no_credential_is_made_known_however_it_is_presented(stage: Stage) -> None:
    make, tenant = stage.canaries.make, stage.tenant
    near = tenant[:-1] + ("x" if tenant[-1] != "x" else "y")
    long = "L" * 9000 + make("a token that is too long", plain=True)
    targets = [
        f"{ROOMS_PATH}?api_key={tenant}",
        f"{ROOMS_PATH}?api_key={quote(tenant, safe='')}",
        f"{ROOMS_PATH}?api_key={quote(near, safe='')}&api_key={quote(tenant, safe='')}",
        f"{ROOMS_PATH}?api%5Fkey={quote(tenant, safe='')}",
        f"{ROOMS_PATH}?API_KEY={make('a misspelt key', plain=True)}",
        f"{ROOMS_PATH}?api_key={make('a key with a bad end', plain=True)}%FF%00",
        f"{ROOMS_PATH}?x={make('another parameter', plain=True)}&api_key=",
        f"{ROOMS_PATH}/own?api_key={quote(tenant, safe='')}",
        f"{ROOMS_PATH}/a/b?api_key={quote(tenant, safe='')}",
        f"{ROOMS_PATH}/%FF?api_key={quote(tenant, safe='')}",
        f"{ROOMS_PATH}/%20?api_key={quote(tenant, safe='')}",
        f"{ROOMS_PATH}?api_key={long}",
        f"{ROOMS_PATH}?api_key={'x' * 70_000}{make('a key beyond all limits', plain=True)}",
        f"/docs?api_key={quote(tenant, safe='')}",
        f"/docs/openapi.json?api_key={quote(tenant, safe='')}",
        f"/schema?api_key={quote(tenant, safe='')}",
        f"/metrics?api_key={quote(tenant, safe='')}",
        f"/?api_key={quote(tenant, safe='')}",
        f"*?api_key={quote(tenant, safe='')}",
    ]
    answers = [
        await stage.rest(target, method=method)
        for target in targets
        for method in ("GET", "HEAD", "POST", "OPTIONS")
    ]
    values = [
        *(
            f"Bearer {tenant}",
            f"bearer  {near}",
            f"Basic {base64.b64encode(f'u:{tenant}'.encode()).decode()}",
        ),
        *(f"Bearer {tenant} {near}", f"Bearer \xe9{tenant}", f"Bearer\t{tenant}", f"Bearer {long}", tenant),
        *(f"Digest username={tenant}", f"Bearer {tenant[::-1]}"),
    ]
    answers += [await stage.rest(ROOMS_PATH, None, ("Authorization", value)) for value in values]
    answers.append(await stage.rest(ROOMS_PATH, tenant, ("Authorization", f"Bearer {near}")))
    for name in ("Cookie", "Proxy-Authorization", "X-Api-Key", "X-Forwarded-For", "X-Custom", "X-Request-Id"):
        secret = make(f"what came as {name}")
        answers.append(await stage.rest(ROOMS_PATH, stage.delegated, (name, secret)))
        answers.append(await stage.rest(f"{ROOMS_PATH}/foreign", "nobodys", (name, secret)))
        await stage.grpc([("authorization", f"Bearer {stage.delegated}"), (name.lower(), secret)])
    for value in values:
        if value.isascii():
            await stage.grpc([("authorization", value.replace("\t", " "))], "own")
    await stage.grpc([("authorization-bin", tenant.encode())])
    await stage.grpc([("authorization", f"Bearer {near}"), ("authorization", f"Bearer {tenant}")])
    await stage.grpc([("tenantrooms-forwarded-headers-bin", tenant.encode()), ("authorization", "Bearer x")])
    address = stage.callers.stack.grpc_address
    for bad in (b"\xe9", b"\x00", b"\x1b", "\u00e9".encode()):
        for metadatum in (b"authorization", b"x-request-id", b"cookie"):
            await raw_call(address, LIST_RPC, [(metadatum, b"Bearer " + bad + tenant.encode())])
    assert {answer.header("cache-control") for answer in answers if answer.body} == {"no-store"}
    assert await stage.leaks() == {}


async def test_no_credential_is_made_known_by_what_is_no_request(stage: Stage) -> None:
    token = stage.tenant.encode()
    host = b"Host: edge.test\r\n"
    credential = b"Authorization: Bearer " + token + b"\r\n"
    for request in (
        token,
        b"GET /livekit/rooms?api_key=" + token + b" x HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /livekit/rooms?api_key=" + token + b"\x00\xff HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /livekit/rooms?api_key=" + token + b" HTTP/9.9\r\n" + host + b"\r\n",
        b"GET http://u:" + token + b"@edge.test/livekit/rooms HTTP/1.1\r\n" + host + b"\r\n",
        b"GET /livekit/rooms HTTP/1.1\r\n" + host + b"Bad Name: " + token + b"\r\n\r\n",
        b"GET /livekit/rooms HTTP/1.1\r\n" + host + b"X: \x00" + token + b"\r\n\r\n",
        b"GET /livekit/rooms HTTP/1.1\r\n" + host + token + b"\r\n\r\n",
        b"GET /livekit/rooms HTTP/1.1\r\n" + host + credential + b"Content-Length: " + token + b"\r\n\r\n",
        b"GET /livekit/rooms HTTP/1.1\r\n" + host + credential + b"Transfer-Encoding: " + token + b"\r\n\r\n",
        b"GET /livekit/rooms HTTP/1.1\r\n" + host + credential + b"Upgrade: " + token + b"\r\n\r\n",
        b"GET /livekit/rooms HTTP/1.1\r\n" + credential + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /livekit/rooms HTTP/1.1\r\n" + host + credential,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + token,
        b"\x16\x03\x01" + token,
    ):
        await stage.raw(request)
    assert await stage.leaks() == {}


async def until_logged(stage: Stage, times: int, text: bytes) -> None:
    async with asyncio.timeout(20):
        while stage.written().count(text) < times:  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.1)


async def test_no_broken_file_makes_a_secret_known(stage: Stage) -> None:
    names = ("signing.pem", "tenants.yaml", "livekit-secret")
    key, _, livekit = good = [(stage.files / name).read_bytes() for name in names]
    fresh = stage.canaries.make("a secret in a broken file", plain=True).encode()
    start = b"tenants:\n  - id: acme\n    "
    broken = [
        (key[:-40] + fresh, start + b"secrets: ['" + fresh, b" " + fresh),
        (fresh, start + fresh + b": ['" + fresh + b"']\n", b"\xff" + fresh),
        (b"\xff" + fresh, start + b"secrets: ['" + fresh + b" x']\n    role: " + fresh + b"\n", livekit),
        (key, b"tenants: !!python/object:" + fresh + b" {}\n", livekit),
        (key, b"\xff\xfe" + fresh, livekit),
    ]
    refused, taken = b"what was read before stays in use", b"changed files were taken up"
    refusals, uses = stage.written().count(refused), stage.written().count(taken)
    for number, contents in enumerate(broken, 1):
        for name, content in zip(names, contents, strict=True):
            (stage.files / name).write_bytes(content)
        await until_logged(stage, refusals + number, refused)
        assert (await stage.rest(ROOMS_PATH, stage.tenant)).status == 200
    for name, content in zip(names, good, strict=True):
        (stage.files / name).write_bytes(content)
    await until_logged(stage, uses + 1, taken)
    assert await stage.leaks() == {}


async def test_a_room_name_is_one_record_and_no_command_for_a_terminal(stage: Stage) -> None:
    name = 'a\r\n{"event":"forged"}\x1b[2J\x9b1m\u2028\u202e'
    before = Counter(record["event"] for record in stage.records())
    stage.livekit.script("ListRooms", *[TwirpError("internal", f"could not find {name}")] * 2)
    await stage.rest(f"{ROOMS_PATH}/{quote(name, safe='')}", stage.tenant)
    stage.livekit.script("ListRooms", PlainText(500, name), PlainText(500, name))
    await stage.rest(f"{ROOMS_PATH}/{quote(name, safe='')}", stage.tenant)

    def new() -> Counter[str]:
        return Counter(record["event"] for record in stage.records()) - before

    async def is_recorded() -> bool:  # after the answers have left
        return min(new()["rpc failed"], new()["request"]) >= 2

    await eventually(is_recorded)
    # The service's and the edge's, for each of the two.
    assert (new()["rpc failed"], new()["request"], new()["forged"]) == (2, 2, 0)
    assert all(character.isprintable() for character in stage.written().decode().replace("\n", ""))


async def test_what_is_searched_is_not_empty(stage: Stage) -> None:
    await stage.rest(ROOMS_PATH, stage.operator)
    assert b"on-call" in stage.audit_log.read_bytes()
    assert b"tenantrooms_" in await stage.metrics()
    assert {record["level"] for record in stage.records()} >= {"debug", "info"}
    assert b"Log level DEBUG" in stage.written()  # gRPC's own


async def test_what_the_system_shows_of_the_processes_has_no_secret(stage: Stage) -> None:
    processes = [*_group(stage.callers.stack.service.pid), *_group(stage.callers.stack.edge.pid)]
    assert len(processes) >= 3
    for pid in processes:
        assert [hit for text in _shown(pid) for hit in stage.canaries.found_in(text)] == []


def _shown(pid: int) -> list[bytes]:
    return [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "comm", "status")]


def _group(leader: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                group = os.getpgid(int(folder.name))
            except ProcessLookupError:
                continue
            if group == leader:
                found.append(int(folder.name))
    return found


async def test_a_crash_makes_no_secret_known(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        stage.livekit.script_always("ListRooms", Hang())
        service, edge = stage.callers.stack.service, stage.callers.stack.edge
        (worker,) = [pid for pid in _group(edge.pid) if pid != edge.pid]
        calls = [asyncio.create_task(stage.rest(ROOMS_PATH, stage.tenant)) for _ in range(3)]
        await stage.livekit.next_request()
        os.kill(service.pid, signal.SIGABRT)
        assert {answer.status for answer in await asyncio.gather(*calls)} == {503}
        os.kill(worker, signal.SIGABRT)
        await service.wait()
        await until_logged(stage, 1, b"Unexpected exit from worker-1")
        assert await stage.leaks() == {}


EVERYTHING = [
    *(str(setting.alias) for model in (Settings, EdgeSettings) for setting in model.model_fields.values()),
    *(f"{name}_FILE" for name in SECRETS),
]
SETTINGS_THAT_FAIL: dict[str, Callable[[str], dict[str, str]]] = {
    "everything is the secret": lambda it: dict.fromkeys(EVERYTHING, it),
    "it is in addresses": lambda it: {
        "LIVEKIT_URL": f"wss://{it}@[::1",
        "AUTH_SERVICE_URL": f"http://u:{it}@192.0.2.1/?k={it}",
        "TENANTROOMS_OIDC_JWKS_URL": f"ftp://{it}",
        "TENANTROOMS_GRPC_LISTEN": f"{it}:x",
        "TENANTROOMS_GRPC_TARGET": f"http://{it}",
        "HOST": f"http://{it}@localhost",
    },
    "it is in a list": lambda it: {
        "AUTH_API_SECRETS_JSON": json.dumps([{"id": " ", "secret": it, it: it}, {"id": "a", "secret": it}]),
        "AUTH_API_SECRET": f"{it} ",
        "TENANTROOMS_EDGE_WORKERS": it,
    },
}


@pytest.mark.parametrize("settings", SETTINGS_THAT_FAIL.values(), ids=SETTINGS_THAT_FAIL)
@pytest.mark.parametrize("part", ["service", "edge"])
async def test_settings_that_cannot_be_used_are_told_without_a_secret(
    tmp_path: Path, part: str, settings: Callable[[str], dict[str, str]]
) -> None:
    canaries = Canaries()
    secret = canaries.make("the secret", plain=True)
    process = ChildProcess(
        part,
        [sys.executable, "-m", part],
        env=environment(settings(secret)),
        log=tmp_path / "log",
        cwd=ROOT,
    )
    await process.start()
    async with asyncio.timeout(30):
        assert await process.wait() == 2
    written = process.log.read_text()
    assert written.startswith("The settings cannot be used:")
    assert canaries.found_in(written) == []
