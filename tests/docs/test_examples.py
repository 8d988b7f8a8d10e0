"""The programs in docs/examples and the Python in the docs do what they say, on the running TenantRooms."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.server import running_server
from service.settings import load
from tenantrooms_client import TenantRoomsClient, Unauthenticated
from tests.docs.markdown import ROOT, fences
from tests.support.auth_service import p256_key, pem
from tests.support.participants import Participants
from tests.support.real_livekit import RealLiveKit
from tools.child_process import ChildProcess, basic_environment
from tools.livekit_server import LiveKitServer
from tools.ports import free_tcp_port
from tools.stack import IMPORT_ROOTS, Stack

AUTH_SERVICE = ROOT / "docs/examples/auth_service.py"
IDENTITY_PROVIDER = ROOT / "docs/examples/local_identity_provider.py"
REPORT = ROOT / "docs/examples/room_report.py"
OWNERLESS = ROOT / "docs/examples/ownerless_rooms.py"
REST = ROOT / "docs/examples/rest_rooms.py"
DOCUMENTED_TARGET = "127.0.0.1:50051"
SECRETS = """[
    {"id": "acme", "secret": "acme-secret"},
    {"id": "globex", "secret": "globex-secret"},
    {"id": "on-call", "secret": "operator-secret", "role": "operator"}
]"""


@dataclass(frozen=True)
class Ended:
    """What a program left behind."""

    status: int | None
    out: str
    err: str


async def run(*arguments: str | Path, program: str = "", **env: str) -> Ended:
    """Runs Python with these arguments, and `program` as its input, to the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(map(str, IMPORT_ROOTS)), **env},
    )
    out, err = await process.communicate(program.encode())
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture(scope="module")
async def stack(
    livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """The service and the edge in front of the real LiveKit."""
    settings = {
        "LIVEKIT_URL": livekit_server.ws_url,
        "LIVEKIT_API_KEY": livekit_server.api_key,
        "LIVEKIT_API_SECRET": livekit_server.api_secret,
        "AUTH_REQUIRED": "true",
        "AUTH_API_SECRETS_JSON": SECRETS,
    }
    async with Stack(
        settings,
        host="127.0.0.1",
        port=free_tcp_port(),
        grpc_address=f"127.0.0.1:{free_tcp_port()}",
        logs=tmp_path_factory.mktemp("stack"),
        env=os.environ,
    ) as running:
        yield running


@pytest.fixture
async def rooms(real_livekit: RealLiveKit, participants: Participants) -> None:
    """Two rooms of acme, somebody in one of them, and a room of globex."""
    await real_livekit.create_room("reception", owner="acme")
    await real_livekit.create_room("interview 24/7", owner="acme")
    await real_livekit.create_room("support-desk", owner="globex")
    await participants.join("reception", "visitor-1")


@pytest.mark.usefixtures("rooms")
async def test_the_report_has_the_tenants_rooms_with_their_participants(stack: Stack) -> None:
    ended = await run(REPORT, stack.grpc_address, TENANTROOMS_TOKEN="acme-secret")
    assert (ended.status, ended.err) == (0, "")
    interview, reception, visitor = ended.out.splitlines()
    assert interview.startswith("interview 24/7: 0 present, created 20")
    assert reception.startswith("reception: 1 present, created 20")
    assert visitor.startswith("  visitor-1 (")


@pytest.mark.usefixtures("rooms")
async def test_an_operator_reports_for_the_tenant_it_names(stack: Stack) -> None:
    ended = await run(REPORT, stack.grpc_address, "--tenant", "globex", TENANTROOMS_TOKEN="operator-secret")
    assert (ended.status, ended.err) == (0, "")
    assert [line.partition(":")[0] for line in ended.out.splitlines()] == ["support-desk"]


@pytest.mark.usefixtures("rooms")
async def test_rooms_without_an_owner_are_found_and_the_guide_gives_one_to_its_tenant(
    stack: Stack, real_livekit: RealLiveKit, livekit_server: LiveKitServer
) -> None:
    await real_livekit.create_room("lobby", metadata='{"title": "Lobby"}')
    await real_livekit.create_room("plain")
    ended = await run(OWNERLESS, stack.grpc_address, TENANTROOMS_TOKEN="operator-secret")
    assert (ended.status, ended.err) == (0, "")
    assert [line.split()[:2] for line in ended.out.splitlines()] == [
        ["no_auth_id", "'lobby'"],
        ["no_metadata", "'plain'"],
    ]
    ended = await run(OWNERLESS, stack.grpc_address, TENANTROOMS_TOKEN="nobodys")
    assert (ended.status, ended.out, "Traceback" in ended.err) == (1, "", False)
    (program,) = fences("docs/how-to/find-ownerless-rooms.md", "python")
    ended = await run(
        "-",
        program=program,
        LIVEKIT_URL=livekit_server.ws_url,
        LIVEKIT_API_KEY=livekit_server.api_key,
        LIVEKIT_API_SECRET=livekit_server.api_secret,
    )
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    async with TenantRoomsClient(stack.grpc_address, token="acme-secret") as client:
        room = (await client.get_room("lobby")).room
    assert json.loads(room.metadata) == {"title": "Lobby", "auth_id": "acme"}


@pytest.mark.parametrize(
    ("token", "arguments", "advice", "error"),
    [
        (None, [], "Set TENANTROOMS_TOKEN.", "UNAUTHENTICATED (CREDENTIAL_MISSING)"),
        ("two words", [], "is not a token", "UNAUTHENTICATED (CREDENTIAL_MALFORMED)"),
        ("wrong", [], "is not accepted", "UNAUTHENTICATED (CREDENTIAL_REJECTED)"),
        ("acme-secret", ["--tenant", "globex"], "Leave out --tenant", "PERMISSION_DENIED (OPERATOR_ONLY)"),
        ("acme-secret", ["--tenant", " "], "not expected", "INVALID_ARGUMENT (TENANT_ID_BLANK)"),
    ],
)
async def test_the_report_says_what_to_do_about_a_refusal(
    stack: Stack, token: str | None, arguments: list[str], advice: str, error: str
) -> None:
    env = {"TENANTROOMS_TOKEN": token} if token else {}
    ended = await run(REPORT, stack.grpc_address, *arguments, **env)
    assert (ended.status, ended.out) == (1, "")
    first, second = ended.err.splitlines()
    assert advice in first
    assert second.startswith(error)


async def test_the_report_refuses_a_token_with_a_line_end(stack: Stack) -> None:
    ended = await run(REPORT, stack.grpc_address, TENANTROOMS_TOKEN="acme-secret\n")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("TENANTROOMS_TOKEN: ")
    assert "acme-secret" not in ended.err


@pytest.mark.parametrize("away", ["service", "livekit"])
async def test_the_report_may_be_tried_again_when_somebody_is_away(away: str) -> None:
    target, livekit = (f"127.0.0.1:{free_tcp_port()}" for _ in range(2))
    settings = {
        "LIVEKIT_URL": f"http://{livekit}",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "a-secret-of-more-than-thirty-two-characters",
        "TENANTROOMS_GRPC_LISTEN": target,
    }
    if away == "service":
        ended = await run(REPORT, target)
        expected = "The service cannot be reached: try again later."
    else:
        async with running_server(load(settings)):
            ended = await run(REPORT, target)
        expected = "LiveKit is away: try again later."
    assert (ended.status, ended.out) == (75, "")
    assert ended.err.splitlines()[0] == expected


@pytest.mark.usefixtures("rooms")
async def test_the_rest_example_lists_rooms_and_shows_one(stack: Stack) -> None:
    listed = await run(REST, stack.url, TENANTROOMS_TOKEN="globex-secret")
    assert (listed.status, listed.out, listed.err) == (0, "support-desk: 0 participants\n", "")
    shown = await run(REST, stack.url, "interview 24/7", TENANTROOMS_TOKEN="acme-secret")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith("interview 24/7: created ")
    occupied = await run(REST, stack.url, "reception", TENANTROOMS_TOKEN="acme-secret")
    assert occupied.out.splitlines()[1:] == ["  visitor-1 ACTIVE STANDARD"]


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("acme-secret", "404: Room not found or not accessible [request "),
        ("wrong", "401: The credential was not accepted [request "),
    ],
)
@pytest.mark.usefixtures("rooms")
async def test_the_rest_example_says_why_it_failed(stack: Stack, token: str, expected: str) -> None:
    ended = await run(REST, stack.url, "support-desk", TENANTROOMS_TOKEN=token)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(expected)


@pytest.mark.parametrize(
    ("page", "last_line"),
    [
        ("README.md", "NOT_FOUND ROOM_NOT_FOUND"),
        ("docs/how-to/call-from-an-internal-service.md", "['visitor-1']"),
    ],
)
@pytest.mark.usefixtures("rooms")
async def test_the_python_in_the_docs_runs(stack: Stack, page: str, last_line: str) -> None:
    (program,) = fences(page, "python")
    assert DOCUMENTED_TARGET in program
    ended = await run("-", program=program.replace(DOCUMENTED_TARGET, stack.grpc_address))
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == last_line
    assert [line.rpartition(" ")[0] for line in ended.out.splitlines()[:2]] == ["interview 24/7", "reception"]


async def test_the_python_that_gives_a_room_an_owner_does_so(stack: Stack, real_livekit: RealLiveKit) -> None:
    await real_livekit.create_room("reception")
    (program,) = fences("docs/how-to/run-against-your-own-livekit.md", "python")
    before = await run(REST, stack.url, TENANTROOMS_TOKEN="acme-secret")
    ended = await run(
        "-",
        program=program,
        LIVEKIT_URL=real_livekit.url,
        LIVEKIT_API_KEY=real_livekit.api_key,
        LIVEKIT_API_SECRET=real_livekit.api_secret,
    )
    assert (ended.status, ended.err) == (0, "")
    after = await run(REST, stack.url, TENANTROOMS_TOKEN="acme-secret")
    assert (before.out, after.out) == ("", "reception: 0 participants\n")


@asynccontextmanager
async def listening(log: Path, program: Path, *arguments: str | Path) -> AsyncIterator[str]:
    """A server of docs/examples, whose last argument is its port; gives its address."""
    port = free_tcp_port()
    child = ChildProcess(
        program.stem,
        [sys.executable, program, *arguments, str(port)],
        env=basic_environment(os.environ),
        log=log,
        cwd=ROOT,
    )

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    try:
        await child.start()
        await child.wait_ready(answers, 20)
        yield f"http://127.0.0.1:{port}"
    finally:
        await child.kill()


async def listed(token: str, livekit: RealLiveKit, settings: Mapping[str, str]) -> list[str]:
    """What a service with these settings lists for this token."""
    address = f"127.0.0.1:{free_tcp_port()}"
    everything = {
        "TENANTROOMS_GRPC_LISTEN": address,
        "LIVEKIT_URL": livekit.ws_url,
        "LIVEKIT_API_KEY": livekit.api_key,
        "LIVEKIT_API_SECRET": livekit.api_secret,
        "AUTH_REQUIRED": "true",
        **settings,
    }
    async with running_server(load(everything)), TenantRoomsClient(address, token=token) as client:
        return [room.name async for room in client.list_rooms()]


async def test_the_example_auth_service_names_the_tenant(real_livekit: RealLiveKit, tmp_path: Path) -> None:
    await real_livekit.create_room("own", owner="acme")
    await real_livekit.create_room("foreign", owner="globex")
    key = p256_key()
    (tmp_path / "key.pem").write_bytes(pem(key))
    (tmp_path / "key.pub").write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    async with listening(tmp_path / "log", AUTH_SERVICE, tmp_path / "key.pub") as url:
        settings = {"AUTH_SERVICE_URL": f"{url}/", "AUTH_SIGNING_KEY_PATH": str(tmp_path / "key.pem")}
        assert await listed("token-of-acme", real_livekit, settings) == ["own"]
        with pytest.raises(Unauthenticated):
            await listed("token-of-nobody", real_livekit, settings)


async def test_the_example_identity_provider_signs_tokens_of_tenants_and_operators(
    real_livekit: RealLiveKit, tmp_path: Path
) -> None:
    await real_livekit.create_room("own", owner="acme")
    await real_livekit.create_room("foreign", owner="globex")
    async with listening(tmp_path / "log", IDENTITY_PROVIDER) as url, aiohttp.ClientSession() as session:
        settings = {
            "TENANTROOMS_OIDC_ISSUER": "http://127.0.0.1/local-identity-provider",
            "TENANTROOMS_OIDC_AUDIENCE": "tenantrooms",
            "TENANTROOMS_OIDC_JWKS_URL": f"{url}/keys",
            "TENANTROOMS_OIDC_TENANT_CLAIM": "tenant",
            "TENANTROOMS_OIDC_OPERATOR_CLAIM": "role",
            "TENANTROOMS_OIDC_OPERATOR_VALUE": "operator",
        }
        for query, rooms in (("tenant=acme", ["own"]), ("role=operator", ["foreign", "own"])):
            async with session.get(f"{url}/token?{query}") as answer:
                token = (await answer.text()).strip()
            assert await listed(token, real_livekit, settings) == rooms
