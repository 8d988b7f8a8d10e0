"""The service's settings of limits: their forms, and that what is wrong is told without its value."""

from pathlib import Path

import pytest
from limits import parse_many

from common.settings import SettingsError
from service.settings import load


def test_the_defaults_bound_calls_and_no_rate() -> None:
    settings = load({})
    assert (settings.max_calls, settings.max_running_calls) == (1024, 256)
    assert settings.max_calls_per_tenant is None
    assert settings.tenant_rates == ()
    assert settings.rate_store is None


def test_everything_set(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:canary@redis.example:6379/2\n")
    settings = load(
        {
            "TENANTROOMS_MAX_CALLS": "100",
            "TENANTROOMS_MAX_RUNNING_CALLS": "50",
            "TENANTROOMS_MAX_CALLS_PER_TENANT": "10",
            "TENANTROOMS_TENANT_RATE": "1000/minute; 100 per 2 seconds",
            "TENANTROOMS_RATE_STORE_URL_FILE": str(tmp_path / "url"),
        }
    )
    assert (settings.max_calls, settings.max_running_calls, settings.max_calls_per_tenant) == (100, 50, 10)
    assert list(settings.tenant_rates) == parse_many("100/2 seconds;1000/minute")
    assert settings.rate_store == "redis://:canary@redis.example:6379/2"
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TENANTROOMS_MAX_CALLS", "1"),
        ("TENANTROOMS_MAX_RUNNING_CALLS", "0"),
        ("TENANTROOMS_MAX_CALLS_PER_TENANT", "0"),
        ("TENANTROOMS_TENANT_RATE", "canary"),
        ("TENANTROOMS_TENANT_RATE", "0/second"),
        ("TENANTROOMS_TENANT_RATE", "5/year"),
        ("TENANTROOMS_RATE_STORE_URL", "http://canary"),
        ("TENANTROOMS_RATE_STORE_URL", "redis://canary:port"),
    ],
)
def test_what_is_wrong_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"TENANTROOMS_TENANT_RATE": "1/second", name: value})
    (problem,) = caught.value.problems
    assert problem.startswith(name)
    assert "canary" not in problem


def test_a_store_without_a_rate_is_refused() -> None:
    with pytest.raises(SettingsError, match="TENANTROOMS_TENANT_RATE"):
        load({"TENANTROOMS_RATE_STORE_URL": "redis://localhost"})
