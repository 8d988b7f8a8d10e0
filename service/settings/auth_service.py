"""Owns the settings of delegated authentication."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service.auth.signing import PrivateKey, read_signing_key
from service.settings.values import (
    WORDS,
    Authorities,
    Flag,
    authorities_out_of_date,
    is_plain_and_remote,
    read_file,
    split_url,
)

_CA_FILE: Final = "TENANTROOMS_AUTH_SERVICE_CA_FILE"


def _url(value: str) -> str:
    return split_url(value, "https http").geturl()


def _signing_key(value: str) -> PrivateKey:
    return read_signing_key(read_file(value))


class AuthServiceSettings(BaseModel):
    """Which auth service is asked whose a token is, and how."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    auth_service_url: Annotated[str | None, BeforeValidator(_url)] = Field(None, alias="AUTH_SERVICE_URL")
    auth_signing_key: Annotated[PrivateKey | None, BeforeValidator(_signing_key)] = Field(
        None, alias="AUTH_SIGNING_KEY_PATH", repr=False
    )
    auth_timeout_seconds: float = Field(5, alias="AUTH_TIMEOUT_SECONDS", gt=0, le=300)
    auth_service_ca: Authorities | None = Field(None, alias=_CA_FILE)
    auth_service_allow_http: Flag = Field(False, alias="TENANTROOMS_AUTH_SERVICE_ALLOW_HTTP")
    auth_service_allow_no_id: Flag = Field(False, alias="TENANTROOMS_AUTH_SERVICE_ALLOW_NO_ID")
    auth_service_after_api_secrets: Flag = Field(False, alias="TENANTROOMS_AUTH_SERVICE_AFTER_API_SECRETS")
    auth_service_cache_seconds: float = Field(
        0, alias="TENANTROOMS_AUTH_SERVICE_CACHE_SECONDS", ge=0, le=3600
    )

    def auth_service_out_of_date(
        self, before: "AuthServiceSettings | None", now: dt.datetime
    ) -> Iterator[str]:
        """Certificates that are not valid now. Those that were in use before are not looked at."""
        before_ca = before.auth_service_ca if before is not None else None
        yield from authorities_out_of_date(now, _CA_FILE, self.auth_service_ca, before_ca)


def auth_service_contradictions(values: Mapping[str, str]) -> Iterator[str]:
    """What does not go together here."""
    if ("AUTH_SERVICE_URL" in values) != ("AUTH_SIGNING_KEY_PATH" in values):
        yield "AUTH_SERVICE_URL and AUTH_SIGNING_KEY_PATH go together: set both or neither"
    plain_allowed = WORDS.get(values.get("TENANTROOMS_AUTH_SERVICE_ALLOW_HTTP", "").lower(), False)
    if not plain_allowed and is_plain_and_remote(values.get("AUTH_SERVICE_URL", "")):
        yield (
            "AUTH_SERVICE_URL would send tokens over plain http to another machine: use https, or set "
            "TENANTROOMS_AUTH_SERVICE_ALLOW_HTTP=true if that network is trusted"
        )
