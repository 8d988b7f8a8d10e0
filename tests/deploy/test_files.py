"""The files that others deploy from: sound by the tools made for them, and in step with the project."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from edge.settings import EdgeSettings
from service.settings import SECRETS, Settings

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
CONTAINERS = ROOT / "deploy" / "containers"
DOCKERFILE, COMPOSE = CONTAINERS / "Dockerfile", CONTAINERS / "compose.yaml"
DEPLOYING = ROOT / "docs" / "how-to" / "deploy.md"
COMPOSED: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
TOOLS = Path(sys.executable).parent

SERVICE_NAMES = {str(field.alias) for field in Settings.model_fields.values()} | {
    f"{name}_FILE" for name in SECRETS
}
EDGE_NAMES = {str(field.alias) for field in EdgeSettings.model_fields.values()}
NOT_OURS = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PATH"}
NAMES = {"service": SERVICE_NAMES, "edge": EDGE_NAMES}


def passes(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def assigned(text: str) -> dict[str, str]:
    """NAME=value lines, with or without `Environment=` before them."""
    return dict(re.findall(r"^(?:Environment=)?([A-Z_]+)=(.*)$", text, re.MULTILINE))


def seconds(settings: type[Settings] | type[EdgeSettings], *fields: str) -> float:
    return sum(float(settings.model_fields[field].default) for field in fields)


STOP_SECONDS = {
    "service": seconds(Settings, "drain_seconds"),
    "edge": seconds(EdgeSettings, "announce_seconds", "stop_timeout_seconds"),
}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on PATH")
@pytest.mark.parametrize("name", ["service", "edge"])
def test_a_unit_is_one_that_systemd_understands(name: str, tmp_path: Path) -> None:
    unit = tmp_path / f"tenantrooms-{name}.service"
    text = (UNITS / unit.name).read_text()
    # The file that it starts has to be there for this.
    unit.write_text(text.replace("/opt/tenantrooms/venv/bin/python", shutil.which("true") or ""))
    passes("systemd-analyze", "verify", "--man=no", unit)


@pytest.mark.parametrize("name", ["service", "edge"])
def test_a_unit_and_its_example_set_only_what_there_is_and_wait_for_the_drain(name: str) -> None:
    unit = (UNITS / f"tenantrooms-{name}.service").read_text()
    example = (UNITS / f"{name}.env.example").read_text()
    directives = dict(re.findall(r"^([A-Z]\w+)=(.*)$", unit, re.MULTILINE))
    set_by_unit = {line.split("=")[1] for line in unit.splitlines() if line.startswith("Environment=")}
    assert (set_by_unit | assigned(example).keys()) - NOT_OURS <= NAMES[name]
    assert float(directives["TimeoutStopSec"]) > STOP_SECONDS[name] + 2
    assert directives["DynamicUser"] == directives["NoNewPrivileges"] == "yes"
    assert (directives["ProtectSystem"], directives["KillMode"]) == ("strict", "mixed")


@pytest.mark.parametrize("name", ["service", "edge"])
def test_a_unit_leaves_the_process_what_its_metrics_are_read_from(name: str, tmp_path: Path) -> None:
    # What a process sees with ProcSubset=pid: processes, and nothing else of /proc.
    (tmp_path / "self").symlink_to("/proc/self")
    registry = CollectorRegistry()
    ProcessCollector(proc=str(tmp_path), registry=registry)
    assert not list(registry.collect()), "metrics need no /proc/stat now: ProcSubset=pid would do"
    assert "\nProcSubset=" not in (UNITS / f"tenantrooms-{name}.service").read_text()


def test_the_dockerfile_passes_its_linter() -> None:
    passes(TOOLS / "hadolint", DOCKERFILE)


@pytest.mark.parametrize("name", ["service", "edge"])
def test_an_image_runs_as_a_user_with_few_rights_and_sets_only_what_there_is(name: str) -> None:
    text = DOCKERFILE.read_text()
    _, _, stage = text.partition(f"FROM runtime AS {name}\n")
    stage, _, _ = stage.partition("\nFROM ")
    names = set(re.findall(r"([A-Z_]{4,})=", stage))
    assert names
    assert names <= NAMES[name]
    assert f'ENTRYPOINT ["python", "-m", "{name}"]' in stage
    assert "/livez" in stage
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    assert "--require-hashes" in text


def test_the_images_hold_what_they_copy_and_nothing_else_is_sent_to_the_builder() -> None:
    ignored = (CONTAINERS / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = set(re.findall(r"^COPY (?!--from)(\S+?)/? ", DOCKERFILE.read_text(), re.MULTILINE))
    assert sent == copied
    for path in copied:
        assert (ROOT / path).exists()


def test_images_and_hosts_get_every_package_that_the_processes_are_made_of() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    made_of = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    dockerfile = DOCKERFILE.read_text()
    copied = set(re.findall(r"^COPY (?!--from)(\S+?)/? ", dockerfile, re.MULTILINE))
    assert {path.partition("/")[0] for path in made_of} <= {path.partition("/")[0] for path in copied}
    by_hand = re.search(r"^cp -r (.+) /opt/tenantrooms/$", DEPLOYING.read_text(), re.MULTILINE)
    assert by_hand is not None
    assert {path.partition("/")[0] for path in made_of} <= set(by_hand[1].split())


def test_the_compose_file_is_one() -> None:
    passes(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)


@pytest.mark.parametrize("name", ["service", "edge"])
def test_a_composed_container_sets_only_what_there_is_and_waits_for_the_drain(name: str) -> None:
    composed = COMPOSED["services"][name]
    assert set(composed.get("environment", {})) <= NAMES[name]
    assert float(composed["stop_grace_period"].removesuffix("s")) > STOP_SECONDS[name] + 2


@pytest.mark.parametrize("name", ["service", "edge", "livekit"])
def test_a_composed_container_has_few_rights(name: str) -> None:
    composed = COMPOSED["services"][name]
    assert composed["cap_drop"] == ["ALL"]
    assert composed["user"] == "65532:65532"
    assert composed["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", COMPOSED["services"])
def test_a_composed_container_is_read_only_is_looked_after_and_comes_back(name: str) -> None:
    composed = COMPOSED["services"][name]
    assert composed["read_only"] is True
    assert composed["restart"] == "unless-stopped"
    target = composed.get("build", {}).get("target")
    _, _, stage = DOCKERFILE.read_text().partition(f"FROM runtime AS {target}\n")
    assert "healthcheck" in composed or "HEALTHCHECK" in stage.partition("\nFROM ")[0]


def test_secrets_of_a_composed_container_are_files_and_never_in_its_environment() -> None:
    # Compose cannot give a container with a read-only file system any others: it would not start.
    for kind in ("secrets", "configs"):
        for name, source in COMPOSED.get(kind, {}).items():
            assert set(source) == {"file"}, name
            ignored = (ROOT / ".gitignore").read_text().splitlines()
            assert f"/deploy/containers/{source['file'].removeprefix('./')}" in ignored
    used = {secret for composed in COMPOSED["services"].values() for secret in composed.get("secrets", [])}
    assert used == set(COMPOSED["secrets"])
    mounted = {f"/run/secrets/{name}" for name in used}
    assert mounted == set(re.findall(r"/run/secrets/[\w.-]+", COMPOSE.read_text()))
    assert "SECRET" not in (CONTAINERS / "env.example").read_text()
    named = [name for composed in COMPOSED["services"].values() for name in composed.get("environment", {})]
    assert not set(named) & (set(SECRETS) - {"LIVEKIT_API_KEY"})  # which is a name


def test_livekit_is_the_version_that_is_tested_here() -> None:
    composed = COMPOSED["services"]["livekit"]["image"]
    pinned = re.search(r"livekit/livekit-server (v\S+)", (ROOT / "tools" / "livekit" / "go.mod").read_text())
    assert pinned is not None
    assert composed == f"livekit/livekit-server:{pinned[1]}"
