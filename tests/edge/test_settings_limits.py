"""The edge's settings of limits: their forms, and that what is wrong is told without its value."""

import ipaddress
from pathlib import Path

import pytest
from limits import parse_many

from common.settings import SettingsError
from edge.settings import EdgeSettings

PREFIX = "TENANTROOMS_EDGE_"


def test_everything_set() -> None:
    settings = EdgeSettings.from_env(
        {
            PREFIX + "MAX_CALLS": "100",
            PREFIX + "MAX_CALLS_PER_CREDENTIAL": "10",
            PREFIX + "MAX_CALLS_PER_ADDRESS": "20",
            PREFIX + "ANONYMOUS_RATE": "100/minute;10/second",
            PREFIX + "RATE_STORE_URL": "rediss://:canary@redis.example/1",
            PREFIX + "TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::1",
            PREFIX + "CLIENT_ADDRESS_HEADER": "forwarded",
        }
    )
    limits = settings.call_limits
    assert (limits.calls, limits.calls_per_credential, limits.calls_per_address) == (100, 10, 20)
    assert list(settings.anonymous_rates) == parse_many("10/second;100/minute")
    assert settings.rate_store == "rediss://:canary@redis.example/1"
    assert "canary" not in repr(settings)
    networks = ("10.0.0.0/8", "2001:db8::1/128")
    assert settings.trusted_proxies == tuple(ipaddress.ip_network(network) for network in networks)
    assert settings.client_address_header == "forwarded"


def test_the_address_of_the_store_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://:canary@redis.example\n")
    environment = {PREFIX + "RATE_STORE_URL_FILE": str(file)}
    assert EdgeSettings.from_env(environment).rate_store == "redis://:canary@redis.example"
    with pytest.raises(SettingsError, match="both set"):
        EdgeSettings.from_env({**environment, PREFIX + "RATE_STORE_URL": "redis://redis.example"})
    file.write_text("canary")
    with pytest.raises(SettingsError) as caught:
        EdgeSettings.from_env(environment)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_CALLS", "1"),
        ("MAX_CALLS", "1025"),
        ("MAX_CALLS_PER_CREDENTIAL", "0"),
        ("ANONYMOUS_RATE", "canary"),
        ("ANONYMOUS_RATE", "0/second"),
        ("ANONYMOUS_RATE", "5/month"),
        ("RATE_STORE_URL", "http://canary"),
        ("RATE_STORE_URL", "redis://"),
        ("RATE_STORE_URL", "redis://canary:port"),
        ("TRUSTED_PROXIES", "canary"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "*"),
        ("CLIENT_ADDRESS_HEADER", "x-real-ip"),
    ],
)
def test_what_is_wrong_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        EdgeSettings.from_env({PREFIX + name: value})
    (problem,) = caught.value.problems
    assert problem.startswith(PREFIX + name)
    assert "canary" not in problem
