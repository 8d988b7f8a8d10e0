"""Owns the settings of the identity provider, whose JWTs are accepted as credentials."""

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from service.auth.claims import ClaimPath, TokenRules, parse_path
from service.auth.jwks import ALGORITHMS, Keys, parse_keys, read_file
from service.settings.values import (
    WORDS,
    Authorities,
    Flag,
    authorities_out_of_date,
    is_plain_and_remote,
    split_url,
)

_PREFIX: Final = "TENANTROOMS_OIDC_"
# The keys are fetched every five minutes: a shorter time would end before one failed fetch is made good.
_SHORTEST_STALE, _LONGEST_STALE = 600, 30 * 86_400


def _exact_text(value: str) -> str:
    if not value or value != value.strip() or not value.isprintable():
        raise ValueError("is empty, or has blanks around it or unprintable characters in it")
    return value


def _url(value: str) -> str:
    address, _, query = value.partition("?")  # some providers have one here
    if "#" in query or any(map(str.isspace, query)):
        raise ValueError("has a fragment or blanks in it, which this address cannot have")
    split_url(address, "https http")
    return value


def _algorithms(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    if not set(names) <= set(ALGORITHMS) or len(set(names)) != len(names):
        raise ValueError(f"is not a list, with commas, of some of {', '.join(ALGORITHMS)}")
    return names


def _keys(path: str, settings: ValidationInfo) -> Keys:
    try:
        return parse_keys(read_file(Path(path)), settings.data.get("oidc_algorithms", ALGORITHMS))
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror}") from None
    except ValueError as error:  # no path, or no usable key set
        raise ValueError(f"names a file that {error}") from None


def _max_stale(value: float) -> float:
    if value and not _SHORTEST_STALE <= value <= _LONGEST_STALE:
        raise ValueError(f"is neither 0 nor between {_SHORTEST_STALE} and {_LONGEST_STALE}")
    return value


class OidcSettings(BaseModel):
    """Whose tokens are accepted, where the keys are, and which claims say who is calling."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    oidc_issuer: Annotated[str | None, BeforeValidator(_exact_text)] = Field(
        None, alias="TENANTROOMS_OIDC_ISSUER"
    )
    oidc_audience: Annotated[str | None, BeforeValidator(_exact_text)] = Field(
        None, alias="TENANTROOMS_OIDC_AUDIENCE"
    )
    oidc_jwks_url: Annotated[str | None, BeforeValidator(_url)] = Field(
        None, alias="TENANTROOMS_OIDC_JWKS_URL"
    )
    oidc_algorithms: Annotated[tuple[str, ...], BeforeValidator(_algorithms)] = Field(
        ("RS256", "ES256", "EdDSA"), alias="TENANTROOMS_OIDC_ALGORITHMS"
    )
    # After the algorithms: a key that fits none of them is none.
    oidc_keys: Annotated[Keys | None, BeforeValidator(_keys)] = Field(
        None, alias="TENANTROOMS_OIDC_JWKS_FILE"
    )
    oidc_jwks_max_stale_seconds: Annotated[float, AfterValidator(_max_stale)] = Field(
        86_400, alias="TENANTROOMS_OIDC_JWKS_MAX_STALE_SECONDS"
    )
    oidc_ca: Authorities | None = Field(None, alias="TENANTROOMS_OIDC_CA_FILE")
    oidc_allow_http: Flag = Field(False, alias="TENANTROOMS_OIDC_ALLOW_HTTP")
    oidc_tenant_claim: Annotated[ClaimPath | None, BeforeValidator(parse_path)] = Field(
        None, alias="TENANTROOMS_OIDC_TENANT_CLAIM"
    )
    oidc_operator_claim: Annotated[ClaimPath | None, BeforeValidator(parse_path)] = Field(
        None, alias="TENANTROOMS_OIDC_OPERATOR_CLAIM"
    )
    oidc_operator_value: Annotated[str | None, BeforeValidator(_exact_text)] = Field(
        None, alias="TENANTROOMS_OIDC_OPERATOR_VALUE"
    )
    oidc_leeway_seconds: float = Field(30, alias="TENANTROOMS_OIDC_LEEWAY_SECONDS", ge=0, le=300)

    @property
    def oidc_rules(self) -> TokenRules | None:
        """What a token must say, or None when no identity provider is set up."""
        if self.oidc_issuer is None or self.oidc_audience is None:
            return None
        return TokenRules(
            issuer=self.oidc_issuer,
            audience=self.oidc_audience,
            algorithms=self.oidc_algorithms,
            leeway=self.oidc_leeway_seconds,
            tenant_claim=self.oidc_tenant_claim,
            operator_claim=self.oidc_operator_claim,
            operator_value=self.oidc_operator_value,
        )

    @property
    def oidc_max_stale(self) -> float:
        """How many seconds old the fetched keys may get; infinity for any age."""
        return self.oidc_jwks_max_stale_seconds or math.inf

    def oidc_out_of_date(self, before: "OidcSettings | None", now: dt.datetime) -> Iterator[str]:
        """Certificates that are not valid now. Those that were in use before are not looked at."""
        before_ca = before.oidc_ca if before is not None else None
        yield from authorities_out_of_date(now, f"{_PREFIX}CA_FILE", self.oidc_ca, before_ca)


def oidc_contradictions(values: Mapping[str, str]) -> Iterator[str]:
    """What does not go together here."""
    given = {name.removeprefix(_PREFIX) for name in values if name.startswith(_PREFIX)}
    if not given:
        return
    for name in ("ISSUER", "AUDIENCE"):
        if name not in given:
            yield f"{_PREFIX}{name} is missing: an identity provider cannot be used without it"
    if len(given & {"JWKS_URL", "JWKS_FILE"}) != 1:
        yield f"{_PREFIX}JWKS_URL or {_PREFIX}JWKS_FILE says where the keys are: set one of them"
    if not given & {"TENANT_CLAIM", "OPERATOR_CLAIM"}:
        yield f"{_PREFIX}TENANT_CLAIM is missing: nothing would say which tenant a token stands for"
    if len(given & {"OPERATOR_CLAIM", "OPERATOR_VALUE"}) == 1:
        yield f"{_PREFIX}OPERATOR_CLAIM and {_PREFIX}OPERATOR_VALUE go together: set both or neither"
    url = values.get(f"{_PREFIX}JWKS_URL", "")
    if "CA_FILE" in given and not url.lower().startswith("https:"):
        yield f"{_PREFIX}CA_FILE is set, but {_PREFIX}JWKS_URL is no https address: unset one of them"
    plain_allowed = WORDS.get(values.get(f"{_PREFIX}ALLOW_HTTP", "").lower(), False)
    if not plain_allowed and is_plain_and_remote(url):
        yield (
            f"{_PREFIX}JWKS_URL would fetch keys over plain http from another machine, and anyone on the "
            "way could put in their own: use https, or set "
            f"{_PREFIX}ALLOW_HTTP=true if that network is trusted"
        )
