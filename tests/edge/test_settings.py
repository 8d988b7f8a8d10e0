"""The edge's settings: defaults, forms, and that all problems are told at once without any value."""

import pytest

from edge.settings import EdgeSettings, SettingsError
from tests.docs.markdown import table


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
        "stop_timeout_seconds": 15,
        "max_path_bytes": 8 * 1024,
        "max_header_bytes": 32 * 1024,
        "max_body_bytes": 64 * 1024,
    }
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
