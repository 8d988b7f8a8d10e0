"""The service's settings: which mappings are good, and what is told about bad ones. Never a secret."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.settings import SettingsError
from service.auth.api_secrets import ApiSecret
from service.consistency import Consistency
from service.settings import SECRETS, Settings, files_in, load, process_environment

CANARY = "canary-5ecret"
NAMES = {str(field.alias) for field in Settings.model_fields.values()}
ENTRY = {"id": "acme", "secret": CANARY}
LIST = json.dumps([ENTRY])
KEYS = {"LIVEKIT_API_KEY": "devkey", "LIVEKIT_API_SECRET": CANARY}


def problems_of(environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        load(environment)
    assert CANARY not in f"{refusal.value!s} {refusal.value!r}"
    assert str(refusal.value).splitlines() == refusal.value.problems
    return refusal.value.problems


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load({})
    assert settings.livekit_url == "http://localhost:7880"
    assert not settings.livekit_configured
    assert settings.livekit_timeout_seconds == 3
    assert settings.livekit_max_response_bytes == 256 * 1024 * 1024
    assert settings.auth_required is False
    assert settings.api_secrets == ()
    assert settings.grpc_listen == "127.0.0.1:50051"
    assert settings.reflection is True
    assert settings.list_consistency is Consistency.FULL
    assert settings.metrics_listen is None
    assert settings.audit_log is None
    assert settings.log_level == "info"


GOOD: dict[str, tuple[dict[str, str], str, Any]] = {
    "ws": ({"LIVEKIT_URL": "ws://lk:7880"}, "livekit_url", "http://lk:7880"),
    "wss": ({"LIVEKIT_URL": "wss://lk.example"}, "livekit_url", "https://lk.example"),
    "http": ({"LIVEKIT_URL": "http://lk"}, "livekit_url", "http://lk"),
    "https, a slash at the end": ({"LIVEKIT_URL": "https://lk:443/"}, "livekit_url", "https://lk:443"),
    "a path": ({"LIVEKIT_URL": "wss://lk/behind/"}, "livekit_url", "https://lk/behind"),
    "an IPv6 address": ({"LIVEKIT_URL": "WS://[::1]:7880"}, "livekit_url", "http://[::1]:7880"),
    "LiveKit's keys": (KEYS, "livekit_configured", True),
    "both keys empty": ({"LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}, "livekit_configured", False),
    "a digest": (
        {"AUTH_API_SECRET": f"sha256:{'0' * 64}"},
        "api_secrets",
        (ApiSecret("default", f"sha256:{'0' * 64}"),),
    ),
    **{
        f"AUTH_REQUIRED={word}": ({"AUTH_REQUIRED": word, "AUTH_API_SECRET": "s"}, "auth_required", required)
        for required, words in {True: ["true", "1", "yes", "TRUE"], False: ["false", "0", "no", "No"]}.items()
        for word in words
    },
    "a list of secrets": (
        {"AUTH_API_SECRETS_JSON": '[{"id":"o","secret":"s","role":"operator"}]'},
        "api_secrets",
        (ApiSecret("o", "s", "operator"),),
    ),
    "one secret": ({"AUTH_API_SECRET": CANARY}, "api_secrets", (ApiSecret("default", CANARY),)),
    "one secret with its id": (
        {"AUTH_API_SECRET": CANARY, "AUTH_API_SECRET_ID": "acme"},
        "api_secrets",
        (ApiSecret("acme", CANARY),),
    ),
    "the list wins": (
        {"AUTH_API_SECRETS_JSON": LIST, "AUTH_API_SECRET": "other"},
        "api_secrets",
        (ApiSecret("acme", CANARY),),
    ),
    "a Unix socket": ({"TENANTROOMS_GRPC_LISTEN": "unix:/run/t.sock"}, "grpc_listen", "unix:/run/t.sock"),
    "every interface": ({"TENANTROOMS_GRPC_LISTEN": "[::]:50051"}, "grpc_listen", "[::]:50051"),
    "metrics": ({"TENANTROOMS_METRICS_LISTEN": "0.0.0.0:9464"}, "metrics_listen", ("0.0.0.0", 9464)),
    "metrics on IPv6": ({"TENANTROOMS_METRICS_LISTEN": "[::1]:0"}, "metrics_listen", ("::1", 0)),
    "an audit log": ({"TENANTROOMS_AUDIT_LOG": "a/b.log"}, "audit_log", Path("a/b.log")),
    "reflection off": ({"TENANTROOMS_REFLECTION": "no"}, "reflection", False),
    "low latency": (
        {"TENANTROOMS_LIST_CONSISTENCY": "minimize_latency"},
        "list_consistency",
        Consistency.MINIMIZE_LATENCY,
    ),
    "a timeout": ({"TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": "0.5"}, "livekit_timeout_seconds", 0.5),
    "what is the edge's": (
        {"TENANTROOMS_EDGE_WORKERS": "x", "TENANTROOMS_GRPC_TARGET": "x", "HOST": "x", "PORT": "x"},
        "reflection",
        True,
    ),
    "what is nobody's": (
        {"AUTH_TOKEN": "x", "LIVEKIT_REGION": "x", "AUTH": "x", "authorization": "x"},
        "reflection",
        True,
    ),
}


@pytest.mark.parametrize(("environment", "name", "value"), GOOD.values(), ids=GOOD)
def test_good_settings(environment: dict[str, str], name: str, value: Any) -> None:
    assert getattr(load(environment), name) == value


BAD_VALUES: dict[str, list[str]] = {
    "LIVEKIT_URL": [
        *("localhost:7880", "ftp://lk", "ws://", "ws://:7880", "ws://lk:99999", "ws://lk:0", "ws://[::1"),
        *("ws://l k:7880", "ws://lk..example", "ws://lk:x", f"ws://devkey:{CANARY}", f"ws://a:{CANARY}@lk"),
        *(f"ws://lk?token={CANARY}", f"ws://lk#{CANARY}", f"ws://{CANARY}\u2100lk", f"ws://{CANARY}@lk"),
    ],
    "TENANTROOMS_GRPC_LISTEN": [
        *(
            "50051",
            ":50051",
            "localhost",
            "localhost:",
            "lk:http",
            "lk:65536",
            "lk:\u0661",
            "unix:",
            CANARY,
        ),
    ],
    "TENANTROOMS_METRICS_LISTEN": [
        *("9464", ":9464", "lk", "lk:", "lk:http", "lk:65536", "lk:\u0661", "::1:9464", "l k:1", "[]:1"),
        *("unix:/s", CANARY),
    ],
    "TENANTROOMS_AUDIT_LOG": [f"{CANARY}\0"],
    "AUTH_REQUIRED": ["", "on", "off", " true", "2", CANARY],
    "AUTH_API_SECRETS_JSON": [
        "",
        "[]",
        "{}",
        CANARY,
        json.dumps([ENTRY, ENTRY]),
        json.dumps([{"id": CANARY}]),
    ],
    "AUTH_API_SECRET": [
        "",
        " ",
        f"{CANARY} ",
        f"{CANARY}\u00e9",
        f"{CANARY}\n",
        CANARY * 1_000,
        f"sha256:{CANARY}",
    ],
    "AUTH_API_SECRET_ID": ["", " ", f" {CANARY}", f"{CANARY}\ud800"],
    "TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS": ["0", "-1", "nan", "inf", "301", CANARY],
    "TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES": ["0", "-1", "1.5", "1e9", "1048575", CANARY],
    "TENANTROOMS_LIST_CONSISTENCY": ["FULL", CANARY],
    "TENANTROOMS_REFLECTION": ["off", CANARY],
    "TENANTROOMS_LOG_LEVEL": ["trace", CANARY],
    "TENANTROOMS_DRAIN_SECONDS": ["-1", "nan", CANARY],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_VALUES.items() for value in values]
)
def test_a_bad_value_is_refused_by_its_name_alone(name: str, value: str) -> None:
    assert any(line.startswith(f"{name} ") for line in problems_of({name: value}))


PAIR = "LIVEKIT_API_KEY and LIVEKIT_API_SECRET go together"
BAD: dict[str, tuple[dict[str, str], str]] = {
    "a key without its secret": ({"LIVEKIT_API_KEY": CANARY}, PAIR),
    "a secret without its key": ({"LIVEKIT_API_SECRET": CANARY}, PAIR),
    "an empty secret with a key": ({**KEYS, "LIVEKIT_API_SECRET": ""}, PAIR),
    "a closed door, no verifier": ({"AUTH_REQUIRED": "yes"}, "AUTH_REQUIRED is on, but nothing can verify"),
    "an id without its secret": ({"AUTH_API_SECRET_ID": CANARY}, "AUTH_API_SECRET_ID is set without"),
    "an auth service without a key": (
        {"AUTH_SERVICE_URL": "https://auth.example"},
        "go together: set both or",
    ),
    "a key without an auth service": ({"AUTH_SIGNING_KEY_PATH": CANARY}, "go together: set both or neither"),
    "an auth service over plain http": (
        {"AUTH_SERVICE_URL": f"http://{CANARY}/", "AUTH_SIGNING_KEY_PATH": CANARY},
        "AUTH_SERVICE_URL would send tokens over plain http",
    ),
    "an auth service's CA that is none": (
        {"TENANTROOMS_AUTH_SERVICE_CA_FILE": __file__},
        "TENANTROOMS_AUTH_SERVICE_CA_FILE names a file that holds no certificates in PEM form",
    ),
    "a signing key that is not there": (
        {"AUTH_SERVICE_URL": "https://auth.example", "AUTH_SIGNING_KEY_PATH": f"/{CANARY}"},
        "AUTH_SIGNING_KEY_PATH names a file that cannot be read: No such file",
    ),
    # Misspelt names: of ours any, of others what is nearly one that counts.
    "one of ours, misspelt": ({"TENANTROOMS_REFLEXION": CANARY}, "did you mean TENANTROOMS_REFLECTION?"),
    "none of ours": ({f"TENANTROOMS_{'Q' * 40}": CANARY}, "QQQ is not a setting; unset it"),
    "in lower case": ({"auth_required": "true"}, "auth_required is not a setting"),
    "without the underscore": ({"AUTHREQUIRED": "true"}, "did you mean AUTH_REQUIRED?"),
    "with a hyphen": ({"AUTH-REQUIRED": "true"}, "did you mean AUTH_REQUIRED?"),
    "without a letter": ({"AUT_REQUIRED": "true"}, "did you mean AUTH_REQUIRED?"),
    "a file of what is no secret": ({"AUTH_REQUIRED_FILE": CANARY}, "AUTH_REQUIRED_FILE is not a setting"),
    "blanks for a key": ({"LIVEKIT_API_KEY": " ", "LIVEKIT_API_SECRET": " "}, "LIVEKIT_API_KEY is padded"),
    "a member twice": (
        {"AUTH_API_SECRETS_JSON": '[{"id":"a","secret":"b","role":"tenant","role":"operator"}]'},
        "AUTH_API_SECRETS_JSON has an entry with one member twice",
    ),
    "cut short": ({"AUTH_REQUIRE": "true"}, "did you mean AUTH_REQUIRED?"),
    "twisted": ({"AUTH_REQIURED": "true"}, "did you mean AUTH_REQUIRED?"),
    "without its end": ({"AUTH_API_SECRETS": LIST}, "AUTH_API_SECRETS is not a setting"),
    "in the singular": ({"AUTH_API_SECRET_JSON": LIST}, "did you mean AUTH_API_SECRETS_JSON?"),
    "in the plural": ({"LIVEKIT_API_KEYS": CANARY}, "did you mean LIVEKIT_API_KEY?"),
}


@pytest.mark.parametrize(("environment", "problem"), BAD.values(), ids=BAD)
def test_settings_that_do_not_go_together_and_misspelt_names_are_refused(
    environment: dict[str, str], problem: str
) -> None:
    assert any(problem in line for line in problems_of(environment))


@given(name=st.sampled_from([*SECRETS, *BAD_VALUES]), text=st.text(max_size=30))
def test_whatever_is_wrong_its_text_holds_no_value(name: str, text: str) -> None:
    try:
        load({name: CANARY + text})
    except SettingsError as refusal:
        told = str(refusal)
    else:
        told = ""
    assert CANARY not in told


NOT_EMPTY = {
    "AUTH_REQUIRED",
    "AUTH_API_SECRETS_JSON",
    "AUTH_API_SECRET",
    "AUTH_API_SECRET_ID",
    *(f"{name}_FILE" for name in SECRETS),
    *(name for name in NAMES if name.endswith("_FILE")),
}


def test_an_empty_variable_is_as_an_unset_one() -> None:
    assert {"TENANTROOMS_TENANTS_FILE", "TENANTROOMS_OIDC_CA_FILE"} < NOT_EMPTY
    assert load(dict.fromkeys(NAMES - NOT_EMPTY, "")) == load({})


@pytest.mark.parametrize("name", sorted(NOT_EMPTY))
def test_an_empty_variable_that_were_less_safe_unset_is_refused(name: str) -> None:
    assert f"{name} is empty: give it a value, or unset it" in problems_of({name: ""})


@pytest.mark.parametrize(
    "name", ["AUTH_API_SECRET", "AUTH_API_SECRETS_JSON_FILE", "TENANTROOMS_TENANTS_FILE", "AUTH_REQUIRED"]
)
def test_that_it_is_empty_is_the_one_problem(name: str) -> None:
    assert len(problems_of({"AUTH_REQUIRED": "true", name: ""})) == 1


def test_all_problems_are_told_together() -> None:
    wrong = {
        "LIVEKIT_URL": "nonsense",
        "LIVEKIT_API_KEY": "devkey",
        "AUTH_REQUIRED": "true",
        "AUTH_API_SECRET_ID": "acme",
        "TENANTROOMS_GRPC_LISTEN": "nowhere",
        "TENANTROOMS_REFLEXION": "no",
        "TENANTROOMS_DRAIN_SECONDS": "-1",
    }
    problems = problems_of(wrong)
    assert len(problems) == len(wrong)
    assert all(any(name in problem for problem in problems) for name in wrong)


def test_settings_show_no_secret() -> None:
    settings = load({**KEYS, "AUTH_API_SECRETS_JSON": LIST, "AUTH_API_SECRET": CANARY})
    assert CANARY not in f"{settings!r} {settings!s} {list(settings.warnings())}"


# --- files ------------------------------------------------------------------------------------------------


def test_each_secret_may_come_from_a_file(tmp_path: Path) -> None:
    values = {
        **KEYS,
        "AUTH_API_SECRETS_JSON": LIST,
        "AUTH_API_SECRET": CANARY,
        "TENANTROOMS_RATE_STORE_URL": "redis://:canary@127.0.0.1:6379",
    }
    assert set(values) == set(SECRETS)
    rates = {"TENANTROOMS_TENANT_RATE": "5/second"}  # for the store to have a purpose
    files = {**rates}
    for name, value in values.items():
        (tmp_path / name).write_text(value + "\n")  # as every editor ends a file
        files[f"{name}_FILE"] = str(tmp_path / name)
    assert load(files) == load({**values, **rates})


def test_a_secret_and_its_file_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CANARY)
    for name in SECRETS:
        problems = problems_of({name: CANARY, f"{name}_FILE": str(tmp_path / "secret")})
        assert f"{name} and {name}_FILE are both set: unset one of them" in problems


def test_a_file_that_cannot_be_read_is_the_one_problem(tmp_path: Path) -> None:
    (tmp_path / "latin-1").write_bytes(b"\xe9")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "latin-1"):
        (problem,) = problems_of({"AUTH_REQUIRED": "true", "AUTH_API_SECRETS_JSON_FILE": str(path)})
        assert problem.startswith("AUTH_API_SECRETS_JSON_FILE names a file that cannot be read")


def test_what_a_file_holds_is_checked_and_not_told(tmp_path: Path) -> None:
    for content in (CANARY, "", f"{CANARY}\n\n"):
        (tmp_path / "list").write_text(content)
        assert problems_of({"AUTH_API_SECRETS_JSON_FILE": str(tmp_path / "list")})


def test_the_tenants_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(f"tenants: [{{id: acme, secrets: [old, {CANARY}]}}]")
    settings = load({"AUTH_REQUIRED": "true", "TENANTROOMS_TENANTS_FILE": str(file), "AUTH_API_SECRET": "x"})
    assert settings.api_secrets == (ApiSecret("acme", "old"), ApiSecret("acme", CANARY))
    assert list(settings.api_secret_warnings()) == [
        "TENANTROOMS_TENANTS_FILE is set, so AUTH_API_SECRET is ignored",
        "2 of 2 API secrets can be guessed, as they are shorter than 32 characters: "
        "python -m service.new_secret makes better ones",
    ]
    assert CANARY not in repr(settings)


def test_the_file_of_tenants_and_the_list_together_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "tenants.json"
    file.write_text(json.dumps({"tenants": [{"id": "acme", "secrets": [CANARY]}]}))
    (tmp_path / "list").write_text(LIST)
    for name, value in (("AUTH_API_SECRETS_JSON", LIST), ("AUTH_API_SECRETS_JSON_FILE", f"{tmp_path}/list")):
        assert problems_of({"TENANTROOMS_TENANTS_FILE": str(file), name: value}) == [
            "AUTH_API_SECRETS_JSON and TENANTROOMS_TENANTS_FILE are both set: unset one of them"
        ]


@pytest.mark.parametrize("name", ["absent.yaml", "tenants", "bad.json"])
def test_a_file_of_tenants_that_cannot_be_used_is_the_one_problem(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.json").write_text(CANARY)
    (tmp_path / "tenants").write_text(CANARY)
    (problem,) = problems_of({"AUTH_REQUIRED": "true", "TENANTROOMS_TENANTS_FILE": str(tmp_path / name)})
    assert problem.startswith("TENANTROOMS_TENANTS_FILE names a file that ")


def test_every_setting_that_names_a_file_is_among_the_files() -> None:
    names = {str(field.alias) for field in Settings.model_fields.values()}
    files = {
        *(f"{name}_FILE" for name in SECRETS),
        *(name for name in names if "FILE" in name or "PATH" in name),
    }
    assert {"AUTH_SIGNING_KEY_PATH", "TENANTROOMS_TENANTS_FILE", "TENANTROOMS_OIDC_JWKS_FILE"} <= files
    assert files_in({name: f"/{name}" for name in files}) == {Path(f"/{name}") for name in files}
    assert files_in({"LIVEKIT_URL": "ws://lk", "SSL_CERT_FILE": "/x", "PATH": "/bin"}) == frozenset()


# --- warnings ---------------------------------------------------------------------------------------------

OPEN = "THE WALL IS OPEN"
LONG_AND_SHORT = json.dumps(
    [{"id": "acme", "secret": secret} for secret in ("s" * 32, "short", f"sha256:{'0' * 64}")]
)
WARNINGS: list[tuple[dict[str, str], list[str]]] = [
    ({}, [OPEN, "credentials are ignored", "LIVEKIT_API_KEY is not set"]),
    (KEYS, [OPEN, "credentials are ignored"]),
    ({**KEYS, "AUTH_API_SECRET": "s" * 32}, [OPEN]),
    ({**KEYS, "AUTH_API_SECRET": "s" * 32, "AUTH_REQUIRED": "true"}, []),
    ({**KEYS, "AUTH_API_SECRET": "s" * 31, "AUTH_REQUIRED": "true"}, ["1 of 1 API secrets can be guessed"]),
    (
        {**KEYS, "AUTH_API_SECRET": "s", "AUTH_API_SECRETS_JSON": LONG_AND_SHORT, "AUTH_REQUIRED": "true"},
        ["AUTH_API_SECRET is ignored", "1 of 3 API secrets can be guessed"],
    ),
]


@pytest.mark.parametrize(("environment", "warnings"), WARNINGS, ids=range(len(WARNINGS)))
def test_open_doors_are_told_loudly(environment: dict[str, str], warnings: list[str]) -> None:
    told = list(load(environment).warnings())
    assert len(told) == len(warnings)
    assert all(warning in line for warning, line in zip(warnings, told, strict=True))


def test_the_processs_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(field.alias or "", raising=False)
    monkeypatch.setenv("TENANTROOMS_DRAIN_SECONDS", "7")
    assert load(process_environment()).drain_seconds == 7
