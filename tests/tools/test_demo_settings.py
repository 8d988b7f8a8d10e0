"""What the demo is asked to do, and every reason why it cannot, before anything starts."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.demo_settings import DemoSettings, DemoSettingsError

FREE = {"PORT": "0", "DEMO_GRPC_PORT": "0", "DEMO_LIVEKIT_PORT": "0", "DEMO_METRICS_PORT": "0"}
OWN_LIVEKIT = {
    "LIVEKIT_URL": "wss://livekit.example.invalid",
    "LIVEKIT_API_KEY": "k",
    "LIVEKIT_API_SECRET": "hush",
}


def problems(env: dict[str, str]) -> str:
    with pytest.raises(DemoSettingsError) as error:
        DemoSettings.from_env(FREE | env)
    return "\n".join(error.value.problems)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_two_tenants_and_an_operator_get_secrets_of_their_own_each_time() -> None:
    first, second = DemoSettings.from_env(FREE), DemoSettings.from_env(FREE)
    assert [tenant.id for tenant in first.tenants] == ["acme", "globex"]
    assert first.operator
    secrets = {caller.secret for one in (first, second) for caller in one.tenants}
    assert len(secrets) == 4
    assert all(tenant.shown == tenant.secret for tenant in first.tenants)


def test_the_wall_is_closed_whatever_the_environment_says() -> None:
    assert DemoSettings.from_env(FREE | {"AUTH_REQUIRED": "false"}).settings["AUTH_REQUIRED"] == "true"


def test_zero_asks_for_a_free_port() -> None:
    settings = DemoSettings.from_env(FREE)
    ports = {settings.port, settings.grpc_port, settings.livekit_port, settings.metrics_port}
    assert len(ports) == 4
    assert 0 not in ports


@pytest.mark.parametrize("name", list(FREE))
def test_a_taken_port_is_named_with_the_variable_that_changes_it(name: str, taken_port: int) -> None:
    said = problems({name: str(taken_port)})
    assert f"port {taken_port} is in use" in said
    assert f"set {name} to another port" in said


def test_the_port_of_a_livekit_that_is_not_started_is_not_looked_at(taken_port: int) -> None:
    DemoSettings.from_env(FREE | OWN_LIVEKIT | {"DEMO_LIVEKIT_PORT": str(taken_port)})


def test_one_port_for_two_things_is_refused() -> None:
    port = str(DemoSettings.from_env(FREE).port)
    assert "are both" in problems({"PORT": port, "DEMO_GRPC_PORT": port})


@pytest.mark.parametrize("text", ["x", "-1", "65536", "3001.0", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    assert f"PORT={text} is not a port" in problems({"PORT": text})


def test_an_address_of_another_machine_is_refused() -> None:
    assert "HOST=192.0.2.1" in problems({"HOST": "192.0.2.1"})


def test_own_secrets_are_used_and_never_shown() -> None:
    entries = [
        {"id": "umbra", "secret": "hush-1"},
        {"id": "umbra", "secret": "hush-2"},
        {"id": "ops", "secret": "hush-3", "role": "operator"},
    ]
    settings = DemoSettings.from_env(FREE | {"AUTH_API_SECRETS_JSON": json.dumps(entries)})
    (tenant,) = settings.tenants
    assert settings.operator
    assert (tenant.id, tenant.secret, settings.operator.secret) == ("umbra", "hush-2", "hush-3")
    assert "hush" not in tenant.shown + settings.operator.shown


def test_own_secrets_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text('[{"id": "umbra", "secret": "hush"}]')
    settings = DemoSettings.from_env(FREE | {"AUTH_API_SECRETS_JSON_FILE": str(file)})
    assert [tenant.id for tenant in settings.tenants] == ["umbra"]


def test_an_own_livekit_needs_its_key() -> None:
    assert "LIVEKIT_API_KEY" in problems({"LIVEKIT_URL": "ws://127.0.0.1:7880"})


def test_an_own_livekits_settings_reach_the_service_and_a_started_ones_replace_the_callers() -> None:
    assert DemoSettings.from_env(FREE | OWN_LIVEKIT).settings.items() >= OWN_LIVEKIT.items()
    without_url = {name: value for name, value in OWN_LIVEKIT.items() if name != "LIVEKIT_URL"}
    assert not without_url.keys() & DemoSettings.from_env(FREE | without_url).settings.keys()


def test_all_problems_are_told_at_once_and_no_secret_is(taken_port: int) -> None:
    said = problems(
        {
            "PORT": str(taken_port),
            "TENANTROOMS_EDGE_NONSENSE": "1",
            "TENANTROOMS_NONSENSE": "1",
            "TENANTROOMS_GRPC_LISTEN": "127.0.0.1:1",
            "AUTH_API_SECRETS_JSON": '[{"id": "umbra", "secret": "hush", "colour": "red"}]',
        }
    )
    for expected in (
        "PORT",
        "TENANTROOMS_EDGE_NONSENSE",
        "TENANTROOMS_NONSENSE",
        "DEMO_GRPC_PORT",
        "AUTH_API_SECRETS_JSON",
    ):
        assert expected in said
    assert "hush" not in said


def test_set_but_empty_counts_as_unset() -> None:
    settings = DemoSettings.from_env(FREE | {"LIVEKIT_URL": "", "HOST": "", "AUTH_API_SECRETS_JSON": ""})
    assert settings.livekit_url is None
    assert settings.host == "127.0.0.1"
