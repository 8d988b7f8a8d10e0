"""The client's wheel: built as a person builds it, installed elsewhere, used from outside the repository."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
GENERATED = REPOSITORY / "generated/tenantrooms/v1"


def run(command: Sequence[str | Path], cwd: Path, **environment: str) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's path, as the command prints it."""
    out = tmp_path_factory.mktemp("wheel") / "dist"
    path = Path(run([sys.executable, "-m", "tools.client_wheel", "--out", out], REPOSITORY).strip())
    assert list(out.iterdir()) == [path]
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site-packages of a fresh virtual environment: the wheel first, then this environment's packages."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(environment, with_pip=False)
    [site] = environment.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run([*pip, "--no-deps", "--no-index", "--target", site, wheel], environment)
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return site


def test_the_wheel_holds_the_client_and_the_contracts_code_and_nothing_else(wheel: Path) -> None:
    about = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    client = REPOSITORY / "client/tenantrooms_client"
    assert sorted(zipfile.ZipFile(wheel).namelist()) == sorted(
        [
            *(f"tenantrooms_client/{path.name}" for path in client.glob("*.py")),
            "tenantrooms_client/py.typed",
            "tenantrooms/__init__.py",
            "tenantrooms/py.typed",
            "tenantrooms/v1/__init__.py",
            "tenantrooms/v1/error_reason_pb2.py",
            "tenantrooms/v1/error_reason_pb2.pyi",
            "tenantrooms/v1/tenant_rooms_pb2.py",
            "tenantrooms/v1/tenant_rooms_pb2.pyi",
            "tenantrooms/v1/tenant_rooms_pb2_grpc.py",
            "tenantrooms/v1/tenant_rooms_pb2_grpc.pyi",
            f"{about}/METADATA",
            f"{about}/RECORD",
            f"{about}/WHEEL",
            f"{about}/extra_metadata/LICENSE",
        ]
    )


def test_the_wheel_demands_the_library_versions_that_the_generated_code_demands(wheel: Path) -> None:
    stubs = (GENERATED / "tenant_rooms_pb2_grpc.py").read_text("utf-8")
    messages = (GENERATED / "tenant_rooms_pb2.py").read_text("utf-8")
    [grpcio] = re.findall(r"^GRPC_GENERATED_VERSION = '(.+)'$", stubs, re.MULTILINE)
    [protobuf] = re.findall(r"^# Protobuf Python Version: (.+)$", messages, re.MULTILINE)
    [metadata] = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA"))
    about = message_from_string(zipfile.ZipFile(wheel).read(metadata).decode())
    demanded = {one.name: one.specifier for one in map(Requirement, about.get_all("Requires-Dist", []))}
    assert set(demanded) == {"googleapis-common-protos", "grpcio", "grpcio-status", "protobuf"}
    assert f">={grpcio}" in str(demanded["grpcio"]).split(",")
    assert f">={protobuf}" in str(demanded["protobuf"]).split(",")


USE = """
import asyncio
import grpc
import tenantrooms
import tenantrooms_client
from google.rpc import code_pb2, error_details_pb2, status_pb2
from google.protobuf.any_pb2 import Any
from grpc_status import rpc_status
from tenantrooms.v1 import error_reason_pb2, tenant_rooms_pb2, tenant_rooms_pb2_grpc
from tenantrooms_client import NotFound, TenantRoomsClient


class Rooms(tenant_rooms_pb2_grpc.TenantRoomsServicer):
    async def ListRooms(self, request, context):
        name = dict(context.invocation_metadata())["authorization"]
        return tenant_rooms_pb2.ListRoomsResponse(rooms=[tenant_rooms_pb2.RoomSummary(name=name)])

    async def GetRoom(self, request, context):
        reason = error_reason_pb2.ErrorReason.Name(error_reason_pb2.ROOM_NOT_FOUND)
        detail = Any()
        detail.Pack(error_details_pb2.ErrorInfo(domain="tenantrooms", reason=reason))
        status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="none", details=[detail])
        await context.abort_with_status(rpc_status.to_status(status))


async def main():
    server = grpc.aio.server()
    tenant_rooms_pb2_grpc.add_TenantRoomsServicer_to_server(Rooms(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with TenantRoomsClient(f"127.0.0.1:{port}", token="acme-secret") as client:
        print([room.name async for room in client.list_rooms()])
        try:
            await client.get_room("standup")
        except NotFound as error:
            print(error.reason)
    await server.stop(None)


print(tenantrooms.__file__)
print(tenantrooms_client.__file__)
asyncio.run(main())
"""


def test_the_installed_wheel_calls_a_service_from_outside_the_repository(
    installed: Path, tmp_path: Path
) -> None:
    printed = run([sys.executable, "-c", USE], tmp_path, PYTHONPATH=str(installed))
    assert printed.splitlines() == [
        str(installed / "tenantrooms/__init__.py"),
        str(installed / "tenantrooms_client/__init__.py"),
        "['Bearer acme-secret']",
        "ROOM_NOT_FOUND",
    ]


TYPED = """
from tenantrooms.v1 import tenant_rooms_pb2, tenant_rooms_pb2_grpc
from tenantrooms_client import TenantRoomsClient


async def names(client: TenantRoomsClient) -> list[str]:
    return [room.name async for room in client.list_rooms()]


async def first(stub: tenant_rooms_pb2_grpc.TenantRoomsAsyncStub) -> tenant_rooms_pb2.RoomSummary:
    return (await stub.ListRooms(tenant_rooms_pb2.ListRoomsRequest(page_size=1))).rooms[0]


async def wrong(client: TenantRoomsClient) -> int:
    return (await client.get_room("standup")).room.name
"""


def test_a_type_checker_reads_the_types_out_of_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(TYPED, "utf-8")
    python = installed.parents[2] / "bin/python"
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "caller.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    # Exactly the one mistake: nothing is untyped, and nothing is Any.
    assert done.stdout.splitlines()[:-1] == [
        'caller.py:15: error: Incompatible return value type (got "str", expected "int")  [return-value]'
    ]
