"""The settings of TLS: certificates, keys and authorities in files, and what is told about bad ones."""

import datetime as dt
from pathlib import Path

import pytest

from common.settings import SettingsError
from service.settings import files_in, load
from tests.support.certificate_authority import DAY, Authority

CERT, KEY, CLIENT_CA = (f"TENANTROOMS_GRPC_TLS_{name}_FILE" for name in ("CERT", "KEY", "CLIENT_CA"))
AUTH_CA, OIDC_CA = "TENANTROOMS_AUTH_SERVICE_CA_FILE", "TENANTROOMS_OIDC_CA_FILE"
LIVEKIT_CA, AGE = "TENANTROOMS_LIVEKIT_CA_FILE", "TENANTROOMS_GRPC_MAX_CONNECTION_AGE_SECONDS"
FILES = [CERT, KEY, CLIENT_CA, LIVEKIT_CA, AUTH_CA, OIDC_CA]
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls(authority: Authority) -> dict[str, str]:
    """A listener that asks for client certificates, and authorities for all whom the service asks."""
    own = authority.issue("own")
    return {
        CERT: str(own.certificate),
        KEY: str(own.key),
        CLIENT_CA: str(authority.file),
        "LIVEKIT_URL": "wss://livekit.example",
        LIVEKIT_CA: str(authority.file),
        AUTH_CA: str(authority.file),
        "TENANTROOMS_OIDC_ISSUER": "https://login.example/",
        "TENANTROOMS_OIDC_AUDIENCE": "tenantrooms",
        "TENANTROOMS_OIDC_JWKS_URL": "https://login.example/keys",
        "TENANTROOMS_OIDC_TENANT_CLAIM": "tenant",
        OIDC_CA: str(authority.file),
    }


def problems_of(environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        load(environment)
    return refusal.value.problems


def test_the_listener_is_plain_text_unless_it_has_a_certificate(tls: dict[str, str]) -> None:
    assert load({}).grpc_certificates is None
    for names, asked in (((CERT, KEY), False), ((CERT, KEY, CLIENT_CA), True)):
        certificates = load({name: tls[name] for name in names}).grpc_certificates
        assert certificates is not None
        assert certificates.chain.pem == Path(tls[CERT]).read_bytes()
        assert certificates.key.pem == Path(tls[KEY]).read_bytes()
        assert (certificates.client_ca is not None) is asked


def test_the_authorities_of_those_who_are_asked_are_read(tls: dict[str, str], authority: Authority) -> None:
    for settings, pem in ((load(tls), authority.pem), (load({}), None)):
        for ca in (settings.livekit_ca, settings.auth_service_ca, settings.oidc_ca):
            assert (ca.pem if ca is not None else None) == pem


def test_connections_have_an_age_by_default_only_where_clients_show_certificates(tls: dict[str, str]) -> None:
    assert load({}).grpc_max_connection_age_seconds is None
    assert load({CERT: tls[CERT], KEY: tls[KEY]}).grpc_max_connection_age_seconds is None
    assert load(tls).grpc_max_connection_age_seconds == 300
    assert load({**tls, AGE: "30"}).grpc_max_connection_age_seconds == 30
    assert load({AGE: "30"}).grpc_max_connection_age_seconds == 30


@pytest.mark.parametrize("value", ["0", "0.9", "86401", "-1", "nan", "x"])
def test_an_age_is_from_a_second_to_a_day(value: str) -> None:
    (problem,) = problems_of({AGE: value})
    assert problem.startswith(f"{AGE} ")


def test_every_file_is_watched(tls: dict[str, str]) -> None:
    assert files_in(tls) == {Path(tls[name]) for name in FILES}


TOGETHER = {
    (KEY,): f"{CERT} and {KEY} go together: set both or neither",
    (CERT,): f"{CERT} and {KEY} go together: set both or neither",
    (CERT, KEY): f"{CLIENT_CA} is set without {CERT}: clients show certificates over TLS only",
    ("LIVEKIT_URL",): f"{LIVEKIT_CA} is set, but LIVEKIT_URL is no https or wss address: unset one of them",
}


@pytest.mark.parametrize(("missing", "problem"), TOGETHER.items())
def test_what_goes_together_is_set_together(
    tls: dict[str, str], missing: tuple[str, ...], problem: str
) -> None:
    assert problem in problems_of({name: value for name, value in tls.items() if name not in missing})


@pytest.mark.parametrize("url", ["ws://livekit.example", "http://livekit.example"])
def test_an_authority_that_nothing_is_checked_with_refuses_to_start(tls: dict[str, str], url: str) -> None:
    (problem,) = problems_of({**tls, "LIVEKIT_URL": url})
    assert problem.startswith(f"{LIVEKIT_CA} is set, but LIVEKIT_URL is no https")


def test_a_key_of_another_certificate_is_refused(tls: dict[str, str], authority: Authority) -> None:
    other = authority.issue("other")
    problem = f"{KEY} names a key that is not that of the first certificate in {CERT}"
    assert problems_of({**tls, KEY: str(other.key)}) == [problem]
    # The certificate in between belongs behind the service's own.
    own = Path(tls[CERT])
    own.write_bytes(authority.pem + own.read_bytes())
    assert problems_of(tls) == [problem]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_absent_or_holds_something_else_is_told_without_its_content(
    tls: dict[str, str], tmp_path: Path, name: str
) -> None:
    broken = tmp_path / "broken"
    assert problems_of({**tls, name: str(broken)}) == [
        f"{name} names a file that cannot be read: No such file or directory"
    ]
    other = Path(tls[CERT if name == KEY else KEY]).read_text()
    for content in ("", "canary-5ecret", other, other[:100]):
        broken.write_text(content)
        (problem,) = problems_of({**tls, name: str(broken)})
        assert problem.startswith(f"{name} names a file that holds no ")
        assert "canary" not in problem
        assert not any(line in problem for line in other.splitlines())


def test_the_key_is_not_shown(tls: dict[str, str]) -> None:
    shown = repr(load(tls))
    assert not any(line in shown for line in Path(tls[KEY]).read_text().splitlines()[1:-1])
    assert "PRIVATE" not in shown


# --- dates ------------------------------------------------------------------------------------------------


def test_certificates_that_have_ended_are_told_together(
    tls: dict[str, str], tmp_path: Path, authority: Authority
) -> None:
    load(tls).check_dates(None, NOW)
    ended = Authority(tmp_path, "ended", ends=NOW - DAY)
    own = authority.issue("own", ends=NOW - DAY)
    names = {CERT: own.certificate, KEY: own.key, **dict.fromkeys(FILES[2:], ended.file)}
    settings = load({**tls, **{name: str(path) for name, path in names.items()}})
    with pytest.raises(SettingsError) as refusal:
        settings.check_dates(None, NOW)
    assert [problem.split()[0] for problem in refusal.value.problems] == [CERT, *FILES[2:]]


def test_a_certificate_that_ends_while_it_is_in_use_keeps_nothing_else_from_being_taken_up(
    tls: dict[str, str],
) -> None:
    settings = load(tls)
    settings.check_dates(settings, NOW + 2 * DAY)
    with pytest.raises(SettingsError):
        settings.check_dates(load({}), NOW + 2 * DAY)


# --- warnings ---------------------------------------------------------------------------------------------

PLAIN_LISTENER, PLAIN_LIVEKIT = "TENANTROOMS_GRPC_LISTEN is plain text", "LIVEKIT_URL is plain http"


def warned(environment: dict[str, str], of: str) -> bool:
    return any(warning.startswith(of) for warning in load(environment).warnings())


@pytest.mark.parametrize(
    ("address", "remote"),
    [
        ("127.0.0.1:1", False),
        ("127.8.9.1:1", False),
        ("localhost:1", False),
        ("[::1]:1", False),
        ("unix:/run/0.0.0.0:1", False),
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("10.0.0.1:1", True),
        ("service.example:1", True),
        ("localhost.example:1", True),
    ],
)
def test_a_plain_listener_that_other_machines_reach_is_warned_of(
    tls: dict[str, str], address: str, remote: bool
) -> None:
    listen = {"TENANTROOMS_GRPC_LISTEN": address}
    assert warned(listen, PLAIN_LISTENER) is remote
    assert not warned({**tls, **listen}, PLAIN_LISTENER)


@pytest.mark.parametrize(
    ("url", "remote"),
    [
        ("ws://127.0.0.1:7880", False),
        ("http://localhost:7880", False),
        ("ws://[::1]:7880", False),
        ("wss://livekit.example", False),
        ("https://10.0.0.1", False),
        ("ws://livekit.example", True),
        ("http://10.0.0.1:7880", True),
    ],
)
def test_plain_http_to_a_livekit_on_another_machine_is_warned_of(url: str, remote: bool) -> None:
    key = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "secret"}
    assert warned({**key, "LIVEKIT_URL": url}, PLAIN_LIVEKIT) is remote
    assert not warned({"LIVEKIT_URL": url}, PLAIN_LIVEKIT)  # no key, no calls
