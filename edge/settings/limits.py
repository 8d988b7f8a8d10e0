"""Owns the settings of limits: how many calls at a time, how often, and whom to believe about an address.

After it: `admission`.
"""

from pathlib import Path
from typing import Annotated, Final

from limits import RateLimitItem
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo

from common.client_networks import Network, read_networks
from common.setting_values import read_rates, read_redis_url
from edge.client_address import HeaderName
from edge.settings.names import PREFIX

MOST_CALLS: Final = 1024
"""The service reads no more from one worker at a time."""


def _redis_url_in_file(value: Path | None, info: ValidationInfo) -> Path | None:
    if value is None:
        return None
    if info.data.get("rate_store_url") is not None:
        raise ValueError(f"and {PREFIX}RATE_STORE_URL are both set: unset one of them")
    read_redis_url(_content(value))
    return value


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8").removesuffix("\n")
    except (OSError, ValueError):
        raise ValueError("names a file that cannot be read") from None


class CallLimits(BaseModel):
    """How many calls to the service one worker has under way at most; further ones are refused with 429.

    Attributes:
        calls: of all callers together.
        calls_per_credential: of those with one token; None is half of all, less where others call.
        calls_per_address: of those from one address; None likewise.
    """

    model_config = ConfigDict(frozen=True)

    calls: int
    calls_per_credential: int | None
    calls_per_address: int | None


class LimitSettings(BaseModel):
    """The edge's limits of calls."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    max_calls: Annotated[int, Field(alias=PREFIX + "MAX_CALLS", ge=2, le=MOST_CALLS)] = MOST_CALLS
    max_calls_per_credential: Annotated[
        int | None, Field(alias=PREFIX + "MAX_CALLS_PER_CREDENTIAL", ge=1, le=MOST_CALLS)
    ] = None
    max_calls_per_address: Annotated[
        int | None, Field(alias=PREFIX + "MAX_CALLS_PER_ADDRESS", ge=1, le=MOST_CALLS)
    ] = None
    anonymous_rates: Annotated[
        tuple[RateLimitItem, ...], BeforeValidator(read_rates), Field(alias=PREFIX + "ANONYMOUS_RATE")
    ] = ()
    rate_store_url: Annotated[
        SecretStr | None, BeforeValidator(read_redis_url), Field(alias=PREFIX + "RATE_STORE_URL")
    ] = None
    rate_store_url_file: Annotated[
        Path | None, AfterValidator(_redis_url_in_file), Field(alias=PREFIX + "RATE_STORE_URL_FILE")
    ] = None
    trusted_proxies: Annotated[
        tuple[Network, ...], BeforeValidator(read_networks), Field(alias=PREFIX + "TRUSTED_PROXIES")
    ] = ()
    client_address_header: Annotated[HeaderName, Field(alias=PREFIX + "CLIENT_ADDRESS_HEADER")] = (
        "x-forwarded-for"
    )

    @property
    def call_limits(self) -> CallLimits:
        """How many calls at a time."""
        return CallLimits(
            calls=self.max_calls,
            calls_per_credential=self.max_calls_per_credential,
            calls_per_address=self.max_calls_per_address,
        )

    @property
    def rate_store(self) -> str | None:
        """The Redis in which requests are counted; None is each worker."""
        if self.rate_store_url_file is not None:
            return _content(self.rate_store_url_file)
        return None if self.rate_store_url is None else self.rate_store_url.get_secret_value()
