"""Owns the settings of limits: how many calls at a time, and how often a tenant may call."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

from limits import RateLimitItem, parse_many
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

_STORE: Final = "TENANTROOMS_RATE_STORE_URL"
_RATE: Final = "TENANTROOMS_TENANT_RATE"


def _rates(value: str) -> tuple[RateLimitItem, ...]:
    try:
        rates = parse_many(value)
    except ValueError:  # its text holds the value
        rates = []
    if not rates or not all(rate.amount and 0 < rate.get_expiry() <= 24 * 60 * 60 for rate in rates):
        raise ValueError("is not a rate like 100/second or 100/second;2000/minute, of at most a day")
    # The shortest first: whom it refuses has not used up any of the longer ones.
    return tuple(sorted(rates, key=RateLimitItem.get_expiry))


def _redis_url(value: str) -> SecretStr:
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.port != 0 and parts.scheme in {"redis", "rediss"}
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is not an address like redis://:password@host:6379/0, or rediss:// with TLS")
    return SecretStr(value)


class LimitSettings(BaseModel):
    """How much is served at a time, of all and of one tenant, and how often a tenant may call."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    max_calls: int = Field(1024, alias="TENANTROOMS_MAX_CALLS", ge=2, le=100_000)
    max_running_calls: int = Field(256, alias="TENANTROOMS_MAX_RUNNING_CALLS", ge=2, le=100_000)
    max_calls_per_tenant: int | None = Field(None, alias="TENANTROOMS_MAX_CALLS_PER_TENANT", ge=1, le=100_000)
    tenant_rates: Annotated[tuple[RateLimitItem, ...], BeforeValidator(_rates)] = Field((), alias=_RATE)
    rate_store_url: Annotated[SecretStr | None, BeforeValidator(_redis_url)] = Field(None, alias=_STORE)

    @property
    def rate_store(self) -> str | None:
        """The Redis in which calls are counted; None is this process."""
        return None if self.rate_store_url is None else self.rate_store_url.get_secret_value()


def limit_contradictions(values: Mapping[str, str]) -> Iterator[str]:
    """What does not go together here."""
    if _STORE in values and _RATE not in values:
        yield f"{_STORE} is set, but no {_RATE}, which would be counted there: set both, or unset it"
