"""Owns the settings of the way to LiveKit."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, Field, SecretStr

from service.settings.values import Authorities, authorities_out_of_date, is_plain_and_remote, split_url

_CA_FILE: Final = "TENANTROOMS_LIVEKIT_CA_FILE"
_SCHEMES: Final = {"ws": "http", "wss": "https", "http": "http", "https": "https"}


def _http_url(value: str) -> str:
    """LiveKit's address as http(s), without a trailing slash."""
    parts = split_url(value, " ".join(_SCHEMES))
    return parts._replace(scheme=_SCHEMES[parts.scheme]).geturl().rstrip("/")


def _key(value: str) -> SecretStr:
    if value != value.strip() or not value.isascii():
        raise ValueError("is padded with blanks, or has characters that are not ASCII")
    return SecretStr(value)


class LiveKitSettings(BaseModel):
    """Where LiveKit is, with which key it is asked, and how long and large an answer may be."""

    livekit_url: Annotated[str, BeforeValidator(_http_url)] = Field(
        "http://localhost:7880", alias="LIVEKIT_URL"
    )
    livekit_api_key: Annotated[SecretStr, BeforeValidator(_key)] = Field(
        SecretStr(""), alias="LIVEKIT_API_KEY"
    )
    livekit_api_secret: Annotated[SecretStr, BeforeValidator(_key)] = Field(
        SecretStr(""), alias="LIVEKIT_API_SECRET"
    )
    livekit_ca: Authorities | None = Field(None, alias=_CA_FILE)
    livekit_timeout_seconds: float = Field(3, alias="TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS", gt=0, le=300)
    livekit_max_response_bytes: int = Field(
        # A cap that one room's metadata can reach would tell a large foreign room from an absent one.
        256 * 1024 * 1024,
        alias="TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES",
        ge=1024 * 1024,
    )

    @property
    def livekit_configured(self) -> bool:
        """Whether there is a key for LiveKit; without one every question fails."""
        return bool(self.livekit_api_key.get_secret_value())

    @property
    def livekit_key(self) -> tuple[str, str]:
        """The API key and its secret."""
        return self.livekit_api_key.get_secret_value(), self.livekit_api_secret.get_secret_value()

    def livekit_warnings(self) -> Iterator[str]:
        """What an operator should read at start-up, one line each."""
        if not self.livekit_configured:
            yield "LIVEKIT_API_KEY is not set: every call will fail with 'LiveKit service not configured'"
        elif is_plain_and_remote(self.livekit_url):
            yield (
                "LIVEKIT_URL is plain http to another machine: whoever is on the way reads all rooms, and "
                "tokens that list them; use https or wss"
            )

    def livekit_out_of_date(self, before: "LiveKitSettings | None", now: dt.datetime) -> Iterator[str]:
        """Certificates that are not valid now. Those that were in use before are not looked at."""
        before_ca = before.livekit_ca if before is not None else None
        yield from authorities_out_of_date(now, _CA_FILE, self.livekit_ca, before_ca)


def livekit_contradictions(values: Mapping[str, str]) -> Iterator[str]:
    """What does not go together here."""
    if _CA_FILE in values and not values.get("LIVEKIT_URL", "").lower().startswith(("https:", "wss:")):
        yield f"{_CA_FILE} is set, but LIVEKIT_URL is no https or wss address: unset one of them"
    if bool(values.get("LIVEKIT_API_KEY")) != bool(values.get("LIVEKIT_API_SECRET")):
        yield "LIVEKIT_API_KEY and LIVEKIT_API_SECRET go together: set both or neither"
