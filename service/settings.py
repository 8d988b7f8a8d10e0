"""Owns the service's settings: names, defaults, rules. The only module here that reads the environment.

`service.__main__` loads them once; everything else is handed what it needs. All problems are reported
together, and the text of a problem never holds a value that was given.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from service.auth.api_secrets import ApiSecret
from service.auth.principal import TenantId, is_tenant_id
from service.auth.secret_list import check_secret, parse_secret_list
from service.consistency import Consistency

SECRETS: Final = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "AUTH_API_SECRETS_JSON", "AUTH_API_SECRET")
"""Each may also come from a file that `<name>_FILE` names."""

_EDGE_ONLY: Final = ("TENANTROOMS_EDGE_", "TENANTROOMS_GRPC_TARGET")
_NOT_HERE: Final = ("AUTH_SERVICE_URL", "AUTH_SIGNING_KEY_PATH")
_WORDS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class SettingsError(Exception):
    """The environment does not hold usable settings; `problems` has one line for each reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _flag(value: str) -> bool:
    try:
        return _WORDS[value.lower()]
    except KeyError:
        raise ValueError("is none of true, false, 1, 0, yes, no") from None


def _http_url(value: str) -> str:
    """LiveKit's address as http(s), without a trailing slash."""
    schemes = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
    try:
        parts = urlsplit(value)
        (parts.hostname or "").encode("idna")
        well_formed = parts.hostname and parts.port != 0 and not any(map(str.isspace, value))
    except ValueError:  # its text may quote the value
        raise ValueError("has no valid host or port") from None
    if parts.scheme not in schemes or not well_formed:
        raise ValueError("is not an address that starts with ws://, wss://, http:// or https://")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("has a user name, a query or a fragment, which LiveKit's address cannot have")
    return parts._replace(scheme=schemes[parts.scheme]).geturl().rstrip("/")


def _livekit_key(value: str) -> SecretStr:
    if value != value.strip() or not value.isascii():
        raise ValueError("is padded with blanks, or has characters that are not ASCII")
    return SecretStr(value)


def _listen_address(value: str) -> str:
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("is neither host:port nor unix:path")
    return value


def _tenant_id(value: str) -> TenantId:
    if not is_tenant_id(value):
        raise ValueError("is not a tenant id: it is blank, padded with blanks or not valid Unicode")
    return TenantId(value)


def _secret(value: str) -> SecretStr:
    check_secret(value)
    return SecretStr(value)


class Settings(BaseModel):
    """The settings of one service process, checked. Secrets have a masked repr."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    livekit_url: Annotated[str, BeforeValidator(_http_url)] = Field(
        "http://localhost:7880", alias="LIVEKIT_URL"
    )
    livekit_api_key: Annotated[SecretStr, BeforeValidator(_livekit_key)] = Field(
        SecretStr(""), alias="LIVEKIT_API_KEY"
    )
    livekit_api_secret: Annotated[SecretStr, BeforeValidator(_livekit_key)] = Field(
        SecretStr(""), alias="LIVEKIT_API_SECRET"
    )
    livekit_timeout_seconds: float = Field(3, alias="TENANTROOMS_LIVEKIT_TIMEOUT_SECONDS", gt=0, le=300)
    livekit_max_response_bytes: int = Field(
        # A cap that one room's metadata can reach would tell a large foreign room from an absent one.
        256 * 1024 * 1024,
        alias="TENANTROOMS_LIVEKIT_MAX_RESPONSE_BYTES",
        ge=1024 * 1024,
    )

    auth_required: Annotated[bool, BeforeValidator(_flag)] = Field(False, alias="AUTH_REQUIRED")
    api_secret_list: Annotated[tuple[ApiSecret, ...], BeforeValidator(parse_secret_list)] = Field(
        (), alias="AUTH_API_SECRETS_JSON"
    )
    api_secret: Annotated[SecretStr | None, BeforeValidator(_secret)] = Field(None, alias="AUTH_API_SECRET")
    api_secret_id: Annotated[str, BeforeValidator(_tenant_id)] = Field("default", alias="AUTH_API_SECRET_ID")

    grpc_listen: Annotated[str, BeforeValidator(_listen_address)] = Field(
        "127.0.0.1:50051", alias="TENANTROOMS_GRPC_LISTEN"
    )
    reflection: Annotated[bool, BeforeValidator(_flag)] = Field(True, alias="TENANTROOMS_REFLECTION")
    list_consistency: Consistency = Field(Consistency.FULL, alias="TENANTROOMS_LIST_CONSISTENCY")
    drain_seconds: float = Field(5, alias="TENANTROOMS_DRAIN_SECONDS", ge=0, le=300)

    @property
    def livekit_configured(self) -> bool:
        """Whether there is a key for LiveKit; without one every question fails."""
        return bool(self.livekit_api_key.get_secret_value())

    @property
    def api_secrets(self) -> tuple[ApiSecret, ...]:
        """All secrets that are accepted; the list wins over the single one."""
        if self.api_secret_list or self.api_secret is None:
            return self.api_secret_list
        return (ApiSecret(self.api_secret_id, self.api_secret.get_secret_value()),)

    def warnings(self) -> Iterator[str]:
        """What an operator should read at start-up, one line each."""
        if not self.auth_required:
            yield (
                "THE WALL IS OPEN: AUTH_REQUIRED is false, so every caller without a credential sees all "
                "rooms of all tenants; set AUTH_REQUIRED=true to close it"
            )
        if not self.auth_required and not self.api_secrets:
            yield "No way to verify a credential is configured, so credentials are ignored"
        if self.api_secret_list and self.api_secret is not None:
            yield "AUTH_API_SECRETS_JSON is set, so AUTH_API_SECRET is ignored"
        if not self.livekit_configured:
            yield "LIVEKIT_API_KEY is not set: every call will fail with 'LiveKit service not configured'"


def from_environment() -> Settings:
    """The settings that this process's environment holds; see `load`."""
    return load(os.environ)


def load(environment: Mapping[str, str]) -> Settings:
    """The settings in this mapping of variable names to values.

    Raises:
        SettingsError: with every problem that was found.
    """
    names = {field.alias or name for name, field in Settings.model_fields.items()}
    problems = list(_misspelt(environment, {*names, *_NOT_HERE, "AUTH_TIMEOUT_SECONDS"}))
    problems += [
        f"{name} is set, but this version has no delegated authentication: unset it"
        for name in _NOT_HERE
        if name in environment
    ]
    values = {name: environment[name] for name in names if name in environment}
    unreadable: set[str] = set()
    for name in SECRETS:
        if f"{name}_FILE" not in environment:
            continue
        if name in values:
            problems.append(f"{name} and {name}_FILE are both set: unset one of them")
            continue
        try:
            values[name] = Path(environment[f"{name}_FILE"]).read_text("utf-8").removesuffix("\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            problems.append(f"{name}_FILE names a file that cannot be read: {reason}")
            unreadable.add(name)
    problems += _contradictions({**values, **dict.fromkeys(unreadable, "unreadable")})
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [
            f"{problem['loc'][0]} {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
    else:
        if not problems:
            return settings
    raise SettingsError(sorted(set(problems)))


def _contradictions(values: Mapping[str, str]) -> Iterator[str]:
    """Rules between settings, which hold whether or not each one alone is right."""
    key, secret = values.get("LIVEKIT_API_KEY"), values.get("LIVEKIT_API_SECRET")
    if bool(key) != bool(secret):
        yield "LIVEKIT_API_KEY and LIVEKIT_API_SECRET go together: set both or neither"
    required = _WORDS.get(values.get("AUTH_REQUIRED", "false").lower())
    if required and not {"AUTH_API_SECRETS_JSON", "AUTH_API_SECRET"} & values.keys():
        yield "AUTH_REQUIRED is on, but nothing can verify a credential: set AUTH_API_SECRETS_JSON"
    if "AUTH_API_SECRET_ID" in values and "AUTH_API_SECRET" not in values:
        yield "AUTH_API_SECRET_ID is set without AUTH_API_SECRET: set both, or unset it"


def _misspelt(environment: Mapping[str, str], known: set[str]) -> Iterator[str]:
    """Names that are nearly ours: a misspelt AUTH_REQUIRED must not leave the wall open."""
    known = {*known, *(f"{name}_FILE" for name in SECRETS)}
    by_letters = {_letters(name): name for name in known}
    for name in environment:
        spelled = name.upper()
        if name in known or spelled.startswith(_EDGE_ONLY):
            continue
        ours = spelled.startswith("TENANTROOMS_")
        near = [by_letters[letters]] if (letters := _letters(name)) in by_letters else []
        if not near and (ours or spelled.startswith(("AUT", "LIVE"))):
            near = difflib.get_close_matches(spelled, known, n=1, cutoff=0.6 if ours else 0.85)
        if spelled.removesuffix("_FILE") in known:
            yield f"{name} is not a setting; only secrets may come from files, and names are upper case"
        elif near:
            yield f"{name} is not a setting; did you mean {near[0]}?"
        elif ours:
            yield f"{name} is not a setting; unset it"


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.upper()))
