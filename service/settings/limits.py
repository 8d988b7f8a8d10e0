"""Owns the settings of limits: how many calls at a time, how often a tenant calls, whose word is taken."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

from limits import RateLimitItem
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from common.client_networks import Network, read_networks
from common.setting_values import read_rates, read_redis_url

_THIS_MACHINE: Final = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1"))
_STORE: Final = "TENANTROOMS_RATE_STORE_URL"
_RATE: Final = "TENANTROOMS_TENANT_RATE"


class LimitSettings(BaseModel):
    """How much is served at a time, of all and of one tenant, and how often a tenant may call."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    max_calls: int = Field(1024, alias="TENANTROOMS_MAX_CALLS", ge=2, le=100_000)
    max_running_calls: int = Field(256, alias="TENANTROOMS_MAX_RUNNING_CALLS", ge=2, le=100_000)
    max_calls_per_tenant: int | None = Field(None, alias="TENANTROOMS_MAX_CALLS_PER_TENANT", ge=1, le=100_000)
    tenant_rates: Annotated[tuple[RateLimitItem, ...], BeforeValidator(read_rates)] = Field((), alias=_RATE)
    rate_store_url: Annotated[SecretStr | None, BeforeValidator(read_redis_url)] = Field(None, alias=_STORE)

    trusted_edges: Annotated[tuple[Network, ...], BeforeValidator(read_networks)] = Field(
        _THIS_MACHINE, alias="TENANTROOMS_TRUSTED_EDGES"
    )

    @property
    def rate_store(self) -> str | None:
        """The Redis in which calls are counted; None is this process."""
        return None if self.rate_store_url is None else self.rate_store_url.get_secret_value()


def limit_contradictions(values: Mapping[str, str]) -> Iterator[str]:
    """What does not go together here."""
    if _STORE in values and _RATE not in values:
        yield f"{_STORE} is set, but no {_RATE}, which would be counted there: set both, or unset it"
