"""The settings of the identity provider: what is read, and what refuses to start."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from common.settings import SettingsError
from service.auth.claims import ClaimPath, TokenRules
from service.auth.key_set import REFRESH_SECONDS
from service.certificates import read_certificates
from service.settings import Settings, load
from tests.support.certificates import self_signed
from tests.support.identity_provider import ec_key, key_set

URL = "https://login.example.com/keys"
LEAST = {
    "TENANTROOMS_OIDC_ISSUER": "https://login.example.com/",
    "TENANTROOMS_OIDC_AUDIENCE": "tenantrooms",
    "TENANTROOMS_OIDC_JWKS_URL": URL,
    "TENANTROOMS_OIDC_TENANT_CLAIM": "tenant",
}


def oidc(**changes: str | None) -> Settings:
    """The least settings with these changed; one of None is left out."""
    named = {**LEAST, **{f"TENANTROOMS_OIDC_{name}": value for name, value in changes.items()}}
    return load({name: value for name, value in named.items() if value is not None})


def problems(**changes: str | None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        oidc(**changes)
    return caught.value.problems


def test_nothing_set_means_no_identity_provider() -> None:
    settings = load({})
    assert (settings.oidc_rules, settings.oidc_jwks_url, settings.oidc_keys) == (None, None, None)


def test_the_least_settings_and_their_defaults() -> None:
    settings = oidc()
    assert settings.oidc_rules == TokenRules(
        issuer="https://login.example.com/",
        audience="tenantrooms",
        algorithms=("RS256", "ES256", "EdDSA"),
        leeway=30,
        tenant_claim=ClaimPath(("tenant",)),
        operator_claim=None,
        operator_value=None,
    )
    assert (settings.oidc_jwks_url, settings.oidc_keys, settings.oidc_ca) == (URL, None, None)
    assert settings.oidc_max_stale == 24 * 3600


def test_all_settings(tmp_path: Path) -> None:
    ca_file = self_signed(tmp_path).certificate
    settings = oidc(
        JWKS_URL=f"{URL}?policy=sign-in",
        CA_FILE=str(ca_file),
        TENANT_CLAIM=r"https://example\.com/claims.tenant",
        OPERATOR_CLAIM="realm_access.roles",
        OPERATOR_VALUE="rooms operator",
        ALGORITHMS="PS256, ES384",
        LEEWAY_SECONDS="0",
        JWKS_MAX_STALE_SECONDS="0",
    )
    assert settings.oidc_rules == TokenRules(
        issuer="https://login.example.com/",
        audience="tenantrooms",
        algorithms=("PS256", "ES384"),
        leeway=0,
        tenant_claim=ClaimPath(("https://example.com/claims", "tenant")),
        operator_claim=ClaimPath(("realm_access", "roles")),
        operator_value="rooms operator",
    )
    assert settings.oidc_jwks_url == f"{URL}?policy=sign-in"
    assert settings.oidc_ca == read_certificates(ca_file.read_bytes())
    assert settings.oidc_max_stale == math.inf


def test_the_keys_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(ec_key("one")))
    keys = oidc(JWKS_URL=None, JWKS_FILE=str(path)).oidc_keys
    assert keys is not None
    assert len(keys.find("one", "ES256")) == 1


@pytest.mark.parametrize(("algorithms", "usable"), [("RS256,EdDSA", False), ("RS256,ES256", True)])
def test_a_file_whose_keys_fit_no_allowed_algorithm_refuses_to_start(
    tmp_path: Path, algorithms: str, usable: bool
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(ec_key("one")))
    changes = {"JWKS_URL": None, "JWKS_FILE": str(path), "ALGORITHMS": algorithms}
    if usable:
        assert oidc(**changes).oidc_keys
        return
    (problem,) = problems(**changes)
    assert problem.startswith("TENANTROOMS_OIDC_JWKS_FILE names a file that has no key")
    assert problem.endswith("that can verify a token by an allowed algorithm")


def test_wrong_algorithms_are_the_one_problem_of_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(ec_key("one")))
    (problem,) = problems(JWKS_URL=None, JWKS_FILE=str(path), ALGORITHMS="none")
    assert problem.startswith("TENANTROOMS_OIDC_ALGORITHMS ")


def test_the_keys_of_an_address_may_grow_older_than_two_refreshes() -> None:
    shortest = oidc(JWKS_MAX_STALE_SECONDS=str(2 * REFRESH_SECONDS))
    assert shortest.oidc_max_stale == 2 * REFRESH_SECONDS


def test_there_may_be_operators_only() -> None:
    rules = oidc(TENANT_CLAIM=None, OPERATOR_CLAIM="role", OPERATOR_VALUE="operator").oidc_rules
    assert rules is not None
    assert rules.tenant_claim is None


def test_an_identity_provider_is_a_verifier() -> None:
    assert load({**LEAST, "AUTH_REQUIRED": "true"}).verifies


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    url = f"http://{host}:8080/keys"
    assert oidc(JWKS_URL=url).oidc_jwks_url == url


@pytest.mark.parametrize("host", ["login.example.com", "10.0.0.1", "localhost.example.com", "[2001:db8::1]"])
def test_plain_http_to_another_machine_takes_a_setting(host: str) -> None:
    url = f"http://{host}/keys"
    (problem,) = problems(JWKS_URL=url)
    assert "plain http" in problem
    assert oidc(JWKS_URL=url, ALLOW_HTTP="true").oidc_jwks_url == url
    assert problems(JWKS_URL=url, ALLOW_HTTP="false") == [problem]


NOT_TOGETHER: dict[str, tuple[Mapping[str, str | None], str]] = {
    "no issuer": ({"ISSUER": None}, "ISSUER is missing"),
    "no audience": ({"AUDIENCE": None}, "AUDIENCE is missing"),
    "no keys": ({"JWKS_URL": None}, "JWKS_URL or TENANTROOMS_OIDC_JWKS_FILE"),
    "no claim": ({"TENANT_CLAIM": None}, "TENANT_CLAIM is missing"),
    "an operator claim without its value": ({"OPERATOR_CLAIM": "role"}, "go together"),
    "a value without its claim": ({"OPERATOR_VALUE": "operator"}, "go together"),
}


@pytest.mark.parametrize(("changes", "problem"), NOT_TOGETHER.values(), ids=NOT_TOGETHER)
def test_what_does_not_go_together_refuses_to_start(changes: dict[str, str | None], problem: str) -> None:
    (only,) = problems(**changes)
    assert only.startswith("TENANTROOMS_OIDC_")
    assert problem in only


def test_two_places_for_the_keys_refuse_to_start(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(ec_key("one")))
    (problem,) = problems(JWKS_FILE=str(path))
    assert "set one of them" in problem


@pytest.mark.parametrize("url", [None, "http://127.0.0.1/keys"])
def test_a_ca_file_that_nothing_is_checked_with_refuses_to_start(tmp_path: Path, url: str | None) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(ec_key("one")))
    ca_file = str(self_signed(tmp_path).certificate)
    (problem,) = problems(JWKS_URL=url, JWKS_FILE=None if url else str(path), CA_FILE=ca_file)
    assert "CA_FILE is set, but" in problem


def test_one_name_alone_is_told_all_that_it_lacks() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"TENANTROOMS_OIDC_LEEWAY_SECONDS": "5"})
    assert len(caught.value.problems) == 4


CANARY = "canary"
BAD_VALUES = [
    ("ISSUER", ""),
    ("ISSUER", f" {CANARY}"),
    ("ISSUER", f"{CANARY}\n"),
    ("AUDIENCE", ""),
    ("AUDIENCE", f"{CANARY} "),
    ("JWKS_URL", ""),
    ("JWKS_URL", CANARY),
    ("JWKS_URL", f"ftp://{CANARY}/keys"),
    ("JWKS_URL", f"https://{CANARY}:password@login.example.com/keys"),
    ("JWKS_URL", f"https://login.example.com/keys#{CANARY}"),
    ("JWKS_URL", f"https://login.example.com/keys?a={CANARY}#b"),
    ("JWKS_URL", f"https://login.example.com/keys?a={CANARY} b"),
    ("JWKS_URL", f"https://login.example.com:{CANARY}/keys"),
    ("CA_FILE", f"/nonexistent/{CANARY}"),
    ("CA_FILE", __file__),
    ("CA_FILE", ""),
    ("TENANT_CLAIM", ""),
    ("TENANT_CLAIM", f".{CANARY}"),
    ("TENANT_CLAIM", f"{CANARY}."),
    ("TENANT_CLAIM", f"{CANARY}..tenant"),
    ("TENANT_CLAIM", f"{CANARY}. tenant"),
    ("TENANT_CLAIM", rf"{CANARY}\tenant"),
    ("TENANT_CLAIM", rf"{CANARY}.tenant\\"),
    ("TENANT_CLAIM", f"https://{CANARY}.example.com/tenant"),
    ("ALGORITHMS", CANARY),
    ("ALGORITHMS", "RS256,"),
    ("ALGORITHMS", "RS256,RS256"),
    ("ALGORITHMS", "rs256"),
    ("ALGORITHMS", "RS256,HS256"),
    ("ALGORITHMS", "none"),
    ("LEEWAY_SECONDS", "-1"),
    ("LEEWAY_SECONDS", "301"),
    ("LEEWAY_SECONDS", "nan"),
    ("LEEWAY_SECONDS", "inf"),
    ("LEEWAY_SECONDS", CANARY),
    ("ALLOW_HTTP", CANARY),
    ("JWKS_MAX_STALE_SECONDS", "599"),
    ("JWKS_MAX_STALE_SECONDS", "2592001"),
    ("JWKS_MAX_STALE_SECONDS", "-1"),
    ("JWKS_MAX_STALE_SECONDS", "nan"),
    ("JWKS_MAX_STALE_SECONDS", CANARY),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_bad_value_refuses_to_start_and_is_not_shown(name: str, value: str) -> None:
    found = problems(**{name: value})
    assert [problem.partition(" ")[0] for problem in found] == [f"TENANTROOMS_OIDC_{name}"]
    assert CANARY not in found[0]


@pytest.mark.parametrize("name", ["OPERATOR_CLAIM", "OPERATOR_VALUE"])
def test_an_empty_half_of_the_operator_pair_refuses_to_start(name: str) -> None:
    pair = {"OPERATOR_CLAIM": "role", "OPERATOR_VALUE": "operator", name: ""}
    (problem,) = problems(**pair)
    assert f"TENANTROOMS_OIDC_{name} " in problem


@pytest.mark.parametrize("content", [None, b"", b"canary", b'{"keys": []}', b'{"keys": [{"kty": "oct"}]}'])
def test_a_file_without_usable_keys_refuses_to_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / CANARY
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems(JWKS_URL=None, JWKS_FILE=str(path))
    assert problem.startswith("TENANTROOMS_OIDC_JWKS_FILE names a file that ")
    assert CANARY not in problem


@pytest.mark.parametrize("path", ["\0", "."])
def test_what_is_no_file_refuses_to_start(path: str) -> None:
    (problem,) = problems(JWKS_URL=None, JWKS_FILE=path)
    assert problem.startswith("TENANTROOMS_OIDC_JWKS_FILE names a file that ")
