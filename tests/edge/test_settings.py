"""The edge's settings: defaults, forms, and that all problems are told at once without any value."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from common.settings import SettingsError
from edge.settings import EdgeSettings
from edge.settings import tls as tls_settings
from edge.settings.names import PREFIX
from tests.docs.markdown import table
from tests.support.certificate_authority import Authority


def problems(**environment: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        EdgeSettings.from_env(environment)
    return caught.value.problems


def test_the_defaults() -> None:
    settings = EdgeSettings.from_env({})
    assert settings.model_dump() == {
        "host": "127.0.0.1",
        "port": 3001,
        "grpc_target": "127.0.0.1:50051",
        "timeout_seconds": 10.0,
        "cors_origins": (),
        "forward_headers": True,
        "workers": 1,
        "header_timeout_seconds": 5.0,
        "announce_seconds": 1.0,
        "stop_timeout_seconds": 15,
        "max_path_bytes": 8 * 1024,
        "max_header_bytes": 32 * 1024,
        "max_body_bytes": 64 * 1024,
        "max_calls": 1024,
        "max_calls_per_credential": None,
        "max_calls_per_address": None,
        "anonymous_rates": (),
        "rate_store_url": None,
        "rate_store_url_file": None,
        "trusted_proxies": (),
        "client_address_header": "x-forwarded-for",
        "tls_cert_file": None,
        "tls_key_file": None,
        "tls_min_version": "1.2",
        "grpc_tls": False,
        "grpc_ca_file": None,
        "grpc_cert_file": None,
        "grpc_key_file": None,
        "grpc_server_name": None,
        "metrics_listen": None,
        "traces_endpoint": None,
        "traces_ratio": 1.0,
        "log_level": "info",
    }
    assert (settings.listener_files, settings.service_files) == ((), ())
    assert settings == EdgeSettings()


def test_everything_set() -> None:
    settings = EdgeSettings.from_env(
        {
            "HOST": "0.0.0.0",
            "PORT": "8080",
            "TENANTROOMS_GRPC_TARGET": "unix:/run/tenantrooms/grpc.sock",
            "TENANTROOMS_EDGE_TIMEOUT_SECONDS": "2.5",
            "TENANTROOMS_EDGE_CORS_ORIGINS": "https://App.example.com, http://[::1]:5173",
            "TENANTROOMS_EDGE_FORWARD_HEADERS": "false",
            "TENANTROOMS_EDGE_WORKERS": "4",
            "TENANTROOMS_EDGE_HEADER_TIMEOUT_SECONDS": "0.5",
            "TENANTROOMS_EDGE_STOP_TIMEOUT_SECONDS": "30",
            "TENANTROOMS_EDGE_MAX_PATH_BYTES": "1024",
            "TENANTROOMS_EDGE_MAX_HEADER_BYTES": "2048",
            "TENANTROOMS_EDGE_MAX_BODY_BYTES": "0",
        }
    )
    assert (settings.host, settings.port, settings.workers) == ("0.0.0.0", 8080, 4)
    assert settings.forward_headers is False
    assert settings.grpc_target == "unix:/run/tenantrooms/grpc.sock"
    assert (settings.timeout_seconds, settings.header_timeout_seconds) == (2.5, 0.5)
    assert settings.stop_timeout_seconds == 30
    assert settings.cors_origins == ("https://app.example.com", "http://[::1]:5173")
    assert settings.limits.model_dump() == {
        "path_bytes": 1024,
        "header_bytes": 2048,
        "body_bytes": 0,
        "body_seconds": 0.5,
    }


def test_an_empty_variable_counts_as_unset() -> None:
    assert (
        EdgeSettings.from_env({"HOST": "", "PORT": "", "TENANTROOMS_EDGE_CORS_ORIGINS": ""}) == EdgeSettings()
    )


def test_an_empty_variable_that_is_to_name_a_file_is_refused() -> None:
    class WithFile(EdgeSettings):
        file: Annotated[str | None, Field(alias="TENANTROOMS_EDGE_OWN_FILE")] = None

    with pytest.raises(SettingsError) as caught:
        WithFile.from_env({"TENANTROOMS_EDGE_OWN_FILE": "", "PORT": ""})
    assert caught.value.problems == ["TENANTROOMS_EDGE_OWN_FILE: is empty; give it a value, or unset it"]


def test_an_empty_word_on_tls_is_refused_and_not_taken_for_plain_text() -> None:
    assert problems(TENANTROOMS_EDGE_GRPC_TLS="") == [
        "TENANTROOMS_EDGE_GRPC_TLS: is empty; give it a value, or unset it"
    ]


def test_the_service_s_own_variables_are_not_the_edge_s_business() -> None:
    rows = [
        row
        for heading in ("The service", "Secrets from files")
        for row in table("docs/reference/settings.md", heading)
    ]
    names = {row[0].code[0] for row in rows} | {row[1].code[0] for row in rows if row[1].code}
    assert {"TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS", "AUTH_API_SECRET_FILE"} <= names
    assert EdgeSettings.from_env(dict.fromkeys(names, "nonsense")) == EdgeSettings()


@pytest.mark.parametrize(
    "target", ["localhost:50051", "rooms.internal:1", "[::1]:50051", "unix:run/x.sock", "unix:///x"]
)
def test_targets(target: str) -> None:
    assert EdgeSettings.from_env({"TENANTROOMS_GRPC_TARGET": target}).grpc_target == target


@pytest.mark.parametrize(
    "target",
    [
        "localhost",
        "http://localhost:50051",
        "localhost:",
        ":50051",
        "localhost:0",
        "localhost:65536",
        "unix:",
    ],
)
def test_what_is_no_target(target: str) -> None:
    assert problems(TENANTROOMS_GRPC_TARGET=target) == [
        "TENANTROOMS_GRPC_TARGET: must be host:port or unix:path"
    ]


@pytest.mark.parametrize(
    "origins",
    [
        "app.example.com",
        "https://",
        "https://a.example/",
        "https://a.example,,*",
        "ftp://a",
        "https://*.example",
        "https://u@a",
        "null",
    ],
)
def test_what_is_no_origin(origins: str) -> None:
    (problem,) = problems(TENANTROOMS_EDGE_CORS_ORIGINS=origins)
    assert problem == (
        "TENANTROOMS_EDGE_CORS_ORIGINS: "
        "must be origins like https://app.example.com, separated by commas, or *"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "a b"),
        ("HOST", "http://localhost"),
        ("HOST", "x" * 64 + ".example.com"),
        ("HOST", "a..b"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("PORT", "30.5"),
        ("TENANTROOMS_EDGE_TIMEOUT_SECONDS", "0"),
        ("TENANTROOMS_EDGE_TIMEOUT_SECONDS", "nan"),
        ("TENANTROOMS_EDGE_TIMEOUT_SECONDS", "inf"),
        ("TENANTROOMS_EDGE_TIMEOUT_SECONDS", "10s"),
        ("TENANTROOMS_EDGE_WORKERS", "0"),
        ("TENANTROOMS_EDGE_WORKERS", "two"),
        ("TENANTROOMS_EDGE_HEADER_TIMEOUT_SECONDS", "61"),
        ("TENANTROOMS_EDGE_STOP_TIMEOUT_SECONDS", "1.5"),
        ("TENANTROOMS_EDGE_MAX_PATH_BYTES", "-1"),
        ("TENANTROOMS_EDGE_MAX_HEADER_BYTES", "1e9"),
        ("TENANTROOMS_EDGE_MAX_BODY_BYTES", "64k"),
        ("TENANTROOMS_EDGE_LOG_LEVEL", "DEBUG"),
    ],
)
def test_a_bad_value_is_named_but_not_shown(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}: ")
    assert value not in problem.removeprefix(f"{name}: ") or value in {"0", "nan"}


def test_all_problems_are_told_at_once() -> None:
    told = problems(
        PORT="hunter2",
        TENANTROOMS_GRPC_TARGET="hunter2",
        TENANTROOMS_EDGE_WORKERS="hunter2",
        TENANTROOMS_EDGE_WORKER="hunter2",
        TENANTROOMS_EDGE_SECRET="hunter2",
    )
    assert [problem.partition(":")[0] for problem in told] == [
        "TENANTROOMS_EDGE_SECRET",
        "TENANTROOMS_EDGE_WORKER",
        "PORT",
        "TENANTROOMS_GRPC_TARGET",
        "TENANTROOMS_EDGE_WORKERS",
    ]
    assert not any("hunter2" in problem for problem in told)


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("TENANTROOMS_EDGE_TIMEOUT_SECOND", "TENANTROOMS_EDGE_TIMEOUT_SECONDS"),
        ("TENANTROOMS_GRPC_TARGTE", "TENANTROOMS_GRPC_TARGET"),
        ("TENANTROOM_GRPC_TARGET", "TENANTROOMS_GRPC_TARGET"),
        ("tenantrooms_grpc_target", "TENANTROOMS_GRPC_TARGET"),
        ("TENANTROOMS_EGDE_WORKERS", "TENANTROOMS_EDGE_WORKERS"),
        ("TENANTROOMS_EGDE_MAX_BODY_BYTES", "TENANTROOMS_EDGE_MAX_BODY_BYTES"),
        ("TENANTROOMS_CORS_ORIGINS", "TENANTROOMS_EDGE_CORS_ORIGINS"),
        ("TENANTROOMS_GRPC_TLS", "TENANTROOMS_EDGE_GRPC_TLS"),
        ("tenantrooms_grpc_tls", "TENANTROOMS_EDGE_GRPC_TLS"),
        ("TENANTROOMS_GRPC_CA_FILE", "TENANTROOMS_EDGE_GRPC_CA_FILE"),
        ("TENANTROOMS_GRPC_SERVER_NAME", "TENANTROOMS_EDGE_GRPC_SERVER_NAME"),
        ("tenantrooms_edge_workers", "TENANTROOMS_EDGE_WORKERS"),
        ("Tenantrooms_Egde_Workers", "TENANTROOMS_EDGE_WORKERS"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_right_one(misspelt: str, meant: str) -> None:
    assert problems(**{misspelt: "5"}) == [f"{misspelt}: no such setting; did you mean {meant}?"]


@pytest.mark.parametrize("name", ["TENANTROOMS_EDGE_SECRET", "tenantrooms_edge_x"])
def test_a_name_with_the_edge_s_prefix_is_refused_in_any_case(name: str) -> None:
    (problem,) = problems(**{name: "5"})
    assert problem.startswith(f"{name}: no such setting")


@pytest.mark.parametrize("name", ["host", "Port", "HOSTS", "TENANTROOMS_TOKEN"])
def test_a_name_that_may_be_anybody_s_is_ignored(name: str) -> None:
    assert EdgeSettings.from_env({name: "nonsense"}) == EdgeSettings()


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, str]:
    """All that is about TLS, set."""
    authority = Authority(tmp_path)
    own, shown = authority.issue("own"), authority.issue("shown")
    return {
        "TENANTROOMS_EDGE_TLS_CERT_FILE": str(own.certificate),
        "TENANTROOMS_EDGE_TLS_KEY_FILE": str(own.key),
        "TENANTROOMS_EDGE_TLS_MIN_VERSION": "1.3",
        "TENANTROOMS_EDGE_GRPC_TLS": "true",
        "TENANTROOMS_EDGE_GRPC_CA_FILE": str(authority.file),
        "TENANTROOMS_EDGE_GRPC_CERT_FILE": str(shown.certificate),
        "TENANTROOMS_EDGE_GRPC_KEY_FILE": str(shown.key),
        "TENANTROOMS_EDGE_GRPC_SERVER_NAME": "rooms.example",
    }


def test_everything_about_tls_set(tls: dict[str, str]) -> None:
    settings = EdgeSettings.from_env(tls)
    files = [path.name for path in (*settings.listener_files, *settings.service_files)]
    assert files == ["own.pem", "own.key", "authority.pem", "shown.pem", "shown.key"]
    assert (settings.tls_min_version, settings.grpc_server_name) == ("1.3", "rooms.example")


def without(environment: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.removeprefix(PREFIX) not in names}


@pytest.mark.parametrize("half", ["TLS_CERT_FILE", "TLS_KEY_FILE", "GRPC_CERT_FILE", "GRPC_KEY_FILE"])
def test_a_certificate_without_its_key_is_refused_and_the_other_way_round(
    tls: dict[str, str], half: str
) -> None:
    (problem,) = problems(**without(tls, half))
    name = f"TENANTROOMS_EDGE_{half}".replace("CERT", "KEY")
    assert problem == f"{name}: a certificate and its key go together, and only one of the two is set"


@pytest.mark.parametrize("flag", [{}, {"TENANTROOMS_EDGE_GRPC_TLS": "no"}])
def test_what_only_tls_needs_is_refused_without_it(tls: dict[str, str], flag: dict[str, str]) -> None:
    told = problems(**{**without(tls, "GRPC_TLS"), **flag})
    assert told == [
        f"TENANTROOMS_EDGE_GRPC_{name}: needs TENANTROOMS_EDGE_GRPC_TLS=true"
        for name in ("CA_FILE", "CERT_FILE", "KEY_FILE", "SERVER_NAME")
    ]


def test_files_that_cannot_be_used_are_told_all_at_once(tls: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "own.key").write_text("hunter2")
    (tmp_path / "authority.pem").unlink()
    (tmp_path / "shown.key").write_bytes((tmp_path / "own.pem").read_bytes())
    told = problems(**tls, PORT="hunter2")
    assert [problem.partition(":")[0] for problem in told] == [
        "TENANTROOMS_EDGE_TLS_KEY_FILE",
        "TENANTROOMS_EDGE_GRPC_CA_FILE",
        "TENANTROOMS_EDGE_GRPC_KEY_FILE",
        "PORT",
    ]
    assert not any("hunter2" in problem or str(tmp_path) in problem for problem in told)


@pytest.mark.parametrize("pair", ["TLS", "GRPC"])
def test_a_file_that_cannot_be_used_is_told_under_its_own_name(
    tls: dict[str, str], tmp_path: Path, pair: str
) -> None:
    certificate, key = (f"TENANTROOMS_EDGE_{pair}_{kind}_FILE" for kind in ("CERT", "KEY"))
    (problem,) = problems(**{**tls, certificate: str(tmp_path / "nothing")})
    assert problem == f"{certificate}: the file with certificates cannot be read"
    (problem,) = problems(**{**tls, certificate: tls[key]})
    assert problem == f"{certificate}: the file holds no certificates in PEM form"
    (problem,) = problems(**{**tls, key: str(tmp_path / "nothing")})
    assert problem == f"{key}: the key file cannot be read"
    both = problems(**{**tls, certificate: str(tmp_path / "nothing"), key: str(tmp_path / "nothing")})
    assert [problem.partition(":")[0] for problem in both] == [certificate, key]


def test_tls_without_any_authority_to_trust_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_settings, "system_authorities", lambda: None)
    (problem,) = problems(TENANTROOMS_EDGE_GRPC_TLS="true")
    assert problem.startswith("TENANTROOMS_EDGE_GRPC_CA_FILE: is needed")


@pytest.mark.parametrize(
    ("name", "value"),
    [("GRPC_SERVER_NAME", "https://rooms.example/"), ("TLS_MIN_VERSION", "1.1"), ("GRPC_TLS", "maybe")],
)
def test_a_bad_value_about_tls_is_named_but_not_shown(tls: dict[str, str], name: str, value: str) -> None:
    (problem,) = problems(**{**tls, f"TENANTROOMS_EDGE_{name}": value})
    assert problem.startswith(f"TENANTROOMS_EDGE_{name}: ")
    assert value not in problem
