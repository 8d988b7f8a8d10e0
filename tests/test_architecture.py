"""What may import what, and who may read the environment: read from the source of every module."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import edge_metadata

ROOT = Path(__file__).parents[1]
SERVICE = sorted((ROOT / "service").rglob("*.py"))
EDGE = sorted((ROOT / "edge").rglob("*.py"))
COMMON = sorted((ROOT / "common").rglob("*.py"))
CLIENT = sorted((ROOT / "client").rglob("*.py"))


def named(module: Path) -> str:
    return str(module.relative_to(ROOT))


def imports(module: Path) -> Iterator[str]:
    """Every module that this one imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                assert level == 0, f"{named(module)} imports relatively"
                yield from (f"{source}.{alias.name}" for alias in names)
            case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module")):
                raise AssertionError(f"{named(module)} imports by name at run time, which nobody can check")


def packages(module: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def test_the_modules_are_found() -> None:
    assert len(SERVICE) > 15
    assert len(EDGE) > 5
    assert len(COMMON) > 1
    assert len(CLIENT) > 3


@pytest.mark.parametrize("module", SERVICE, ids=named)
def test_the_service_knows_neither_edge_nor_client(module: Path) -> None:
    assert packages(module).isdisjoint(
        {"edge", "tenantrooms_client", "litestar", "granian", "tests", "tools"}
    )


@pytest.mark.parametrize("module", EDGE, ids=named)
def test_the_edge_knows_neither_service_nor_livekit(module: Path) -> None:
    assert packages(module).isdisjoint({"service", "livekit", "tests", "tools"})


@pytest.mark.parametrize("module", CLIENT, ids=named)
def test_the_client_knows_neither_service_nor_edge(module: Path) -> None:
    assert packages(module).isdisjoint({"service", "edge", "common", "livekit", "tests", "tools"})


# What only one of the processes has, or what it has only in some of its processes.
OF_ONE_PROCESS = {"litestar", "granian", "grpc", "aiohttp", "livekit", "tenantrooms", "tenantrooms_client"}


@pytest.mark.parametrize("module", COMMON, ids=named)
def test_what_both_processes_do_alike_knows_neither_of_them_and_no_tenant(module: Path) -> None:
    assert packages(module).isdisjoint({"service", "edge", "tests", "tools"} | OF_ONE_PROCESS)
    assert not re.search(r"(?i)tenant(?!_?rooms)", module.read_text("utf-8"))


@pytest.mark.parametrize("key", [edge_metadata.FORWARDED_HEADERS_KEY, edge_metadata.CLIENT_ADDRESS_KEY])
def test_what_both_processes_call_a_metadata_key_is_written_once(key: str) -> None:
    written = [
        named(module) for module in [*SERVICE, *EDGE, *COMMON, *CLIENT] if key in module.read_text("utf-8")
    ]
    assert written == ["common/edge_metadata.py"]


TRANSPORTS = {"grpc", "grpc_status", "grpc_health", "grpc_reflection", "aiohttp", "http", "httpx", "urllib"}
DOMAIN = ("errors", "rooms", "ownership", "directory", "paging", "consistency", "auth/principal")


@pytest.mark.parametrize("name", DOMAIN)
def test_the_domain_knows_no_transport(name: str) -> None:
    module = ROOT / "service" / f"{name}.py"
    assert packages(module).isdisjoint(TRANSPORTS)
    # Of the contract's messages it knows the names of the reasons alone.
    generated = {source for source in imports(module) if source.startswith("tenantrooms.")}
    assert generated <= {"tenantrooms.v1.error_reason_pb2.ErrorReason"}


# In the order in which a call passes them; each may import what comes after it.
LAYERS = ["serving", "server", "error_boundary", "authentication", "servicer", "rooms", "directory"]


def test_data_flows_one_way() -> None:
    for place, name in enumerate(LAYERS):
        above = {f"service.{layer}" for layer in LAYERS[:place]}
        sources = set(imports(ROOT / "service" / f"{name}.py"))
        used = sources | {source.rpartition(".")[0] for source in sources}
        if name == "servicer":
            above.remove("service.authentication")  # where the caller of the call is found
        assert used.isdisjoint(above), name


# Those that start, wire and reload. All others are handed what they need.
KNOW_SETTINGS = {"__main__", "serving", "server", "authentication_wiring", "reloading"}


@pytest.mark.parametrize("module", SERVICE, ids=named)
def test_who_starts_and_wires_knows_the_settings_and_nobody_else(module: Path) -> None:
    if module.stem in KNOW_SETTINGS or module.parent.name == "settings":
        return
    assert not [name for name in imports(module) if name.startswith("service.settings")]


def environment_readers(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        match node:
            case ast.Attribute(attr="environ" | "environb" | "getenv" | "getenvb" as name):
                yield name
            case ast.ImportFrom(module="os", names=names):
                yield from (alias.name for alias in names if "env" in alias.name)


SETTINGS = {
    "service": "service/settings/__init__.py",
    "edge": "edge/settings/__init__.py",
    "common": "common/settings.py",
}


@pytest.mark.parametrize("module", [*SERVICE, *EDGE, *COMMON, *CLIENT], ids=named)
def test_only_settings_modules_read_the_environment(module: Path) -> None:
    readers = list(environment_readers(module))
    assert bool(readers) == (module.relative_to(ROOT).as_posix() in SETTINGS.values())


@pytest.mark.parametrize("part", SETTINGS)
def test_the_environment_is_read_when_asked_for_and_not_at_import(part: str) -> None:
    tree = ast.parse((ROOT / SETTINGS[part]).read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
            assert id(node) in inside
