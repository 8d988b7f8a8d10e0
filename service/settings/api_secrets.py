"""Owns the settings of API secrets."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from service.auth.api_secrets import ApiSecret
from service.auth.principal import TenantId
from service.auth.secret_list import SHORTEST_SAFE_SECRET, is_short, parse_secret_list
from service.auth.tenants_file import read_tenants_file
from service.settings.values import ApiSecretId, ApiSecretText


def _tenants_file(value: str) -> tuple[ApiSecret, ...]:
    try:
        return read_tenants_file(Path(value))
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror}") from None


class ApiSecretSettings(BaseModel):
    """Which secrets are accepted, and whose they are."""

    api_secret_list: Annotated[tuple[ApiSecret, ...], BeforeValidator(parse_secret_list)] = Field(
        (), alias="AUTH_API_SECRETS_JSON"
    )
    tenants: Annotated[tuple[ApiSecret, ...], BeforeValidator(_tenants_file)] = Field(
        (), alias="TENANTROOMS_TENANTS_FILE"
    )
    api_secret: ApiSecretText | None = Field(None, alias="AUTH_API_SECRET")
    api_secret_id: ApiSecretId = Field(TenantId("default"), alias="AUTH_API_SECRET_ID")

    @property
    def api_secrets(self) -> tuple[ApiSecret, ...]:
        """All secrets that are accepted; the list or the file of tenants wins over the single one."""
        listed = self.api_secret_list or self.tenants
        if listed or self.api_secret is None:
            return listed
        return (ApiSecret(self.api_secret_id, self.api_secret.get_secret_value()),)

    def api_secret_warnings(self) -> Iterator[str]:
        """What an operator should read at start-up, one line each."""
        if self.api_secret is not None:
            if self.api_secret_list:
                yield "AUTH_API_SECRETS_JSON is set, so AUTH_API_SECRET is ignored"
            if self.tenants:
                yield "TENANTROOMS_TENANTS_FILE is set, so AUTH_API_SECRET is ignored"
        if short := sum(map(is_short, self.api_secrets)):
            yield (
                f"{short} of {len(self.api_secrets)} API secrets can be guessed, as they are shorter than "
                f"{SHORTEST_SAFE_SECRET} characters: python -m service.new_secret makes better ones"
            )


def api_secret_contradictions(values: Mapping[str, str]) -> Iterator[str]:
    """What does not go together here."""
    if "AUTH_API_SECRET_ID" in values and "AUTH_API_SECRET" not in values:
        yield "AUTH_API_SECRET_ID is set without AUTH_API_SECRET: set both, or unset it"
    if "AUTH_API_SECRETS_JSON" in values and "TENANTROOMS_TENANTS_FILE" in values:
        yield "AUTH_API_SECRETS_JSON and TENANTROOMS_TENANTS_FILE are both set: unset one of them"
