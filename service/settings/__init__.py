"""Owns the service's settings: names, defaults, rules. The only place here that reads the environment.

`service.__main__` loads them at start, and `service.reloading` again when a file that they name has changed;
everything else is handed what it needs. All problems are reported together, and the text of a problem never
holds a value that was given. Each module of this package has the settings of one concern; `values` reads
single values, `names` finds misspelt ones, `empty` says what an empty one means.
"""

import datetime as dt
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, Field, ValidationError

from common.settings import SettingsError
from service.settings.api_secrets import ApiSecretSettings, api_secret_contradictions
from service.settings.auth_service import AuthServiceSettings, auth_service_contradictions
from service.settings.empty import refused_when_empty
from service.settings.limits import LimitSettings, limit_contradictions
from service.settings.listener import ListenerSettings, listener_contradictions
from service.settings.livekit import LiveKitSettings, livekit_contradictions
from service.settings.names import misspelt
from service.settings.observability import ObservabilitySettings
from service.settings.oidc import OidcSettings, oidc_contradictions
from service.settings.values import WORDS, Flag

SECRETS: Final = (
    "LIVEKIT_API_KEY",
    "LIVEKIT_API_SECRET",
    "AUTH_API_SECRETS_JSON",
    "AUTH_API_SECRET",
    "TENANTROOMS_RATE_STORE_URL",
)
"""Each may also come from a file that `<name>_FILE` names."""

_VERIFIERS: Final = {
    "AUTH_API_SECRETS_JSON",
    "AUTH_API_SECRET",
    "TENANTROOMS_TENANTS_FILE",
    "AUTH_SERVICE_URL",
    "TENANTROOMS_OIDC_ISSUER",
}

# How the names of settings end whose value is the path of a file.
_NAMES_A_FILE: Final = ("_FILE", "_PATH")


class Settings(
    ListenerSettings,
    LiveKitSettings,
    ApiSecretSettings,
    AuthServiceSettings,
    OidcSettings,
    LimitSettings,
    ObservabilitySettings,
):
    """The settings of one service process, checked. Secrets have a masked repr."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    auth_required: Flag = Field(False, alias="AUTH_REQUIRED")

    @property
    def verifies(self) -> bool:
        """Whether any way to verify a credential is set up."""
        return bool(self.api_secrets or self.auth_service_url or self.oidc_issuer)

    def warnings(self) -> Iterator[str]:
        """What an operator should read at start-up, one line each."""
        if not self.auth_required:
            yield (
                "THE WALL IS OPEN: AUTH_REQUIRED is false, so every caller without a credential sees all "
                "rooms of all tenants; set AUTH_REQUIRED=true to close it"
            )
        if not self.auth_required and not self.verifies:
            yield "No way to verify a credential is configured, so credentials are ignored"
        yield from self.api_secret_warnings()
        if self.api_secrets and self.auth_service_url and not self.auth_service_after_api_secrets:
            yield (
                "API secrets are set, so AUTH_SERVICE_URL is never asked; "
                "TENANTROOMS_AUTH_SERVICE_AFTER_API_SECRETS=true asks it about unknown tokens"
            )
        if self.auth_service_allow_no_id:
            yield (
                "TENANTROOMS_AUTH_SERVICE_ALLOW_NO_ID is on: whoever the auth service accepts without an id "
                "sees all rooms of all tenants"
            )
        yield from self.listener_warnings()
        yield from self.livekit_warnings()

    def check_dates(self, before: "Settings | None", now: dt.datetime) -> None:
        """Looks whether the certificates are valid now, except those that were in use before.

        Raises:
            SettingsError: one is not.
        """
        problems = [
            *self.listener_out_of_date(before, now),
            *self.livekit_out_of_date(before, now),
            *self.auth_service_out_of_date(before, now),
            *self.oidc_out_of_date(before, now),
        ]
        if problems:
            raise SettingsError(problems)


def process_environment() -> Mapping[str, str]:
    """This process's environment as it is now; see `load`."""
    return dict(os.environ)


def files_in(environment: Mapping[str, str]) -> frozenset[Path]:
    """The files on whose content `load` depends for this mapping."""
    return frozenset(
        Path(environment[name])
        for name in _known_names()
        if environment.get(name) and name.endswith(_NAMES_A_FILE)
    )


def load(environment: Mapping[str, str]) -> Settings:
    """The settings in this mapping of variable names to values, and in the files that it names.

    An empty value is as none, or it is refused.

    Raises:
        SettingsError: with every problem that was found.
    """
    known = _known_names()
    given = {name: environment[name] for name in known if environment.get(name)}
    empty = {name for name in known if environment.get(name) == "" and refused_when_empty(name)}
    problems = [
        *misspelt(environment, known),
        *(f"{name} is empty: give it a value, or unset it" for name in empty),
    ]
    values = {name: given[name] for name in _field_names() if name in given}
    unreadable = {name.removesuffix("_FILE") if name in _secret_files() else name for name in empty}
    for name in SECRETS:
        if f"{name}_FILE" not in given:
            continue
        if name in values:
            problems.append(f"{name} and {name}_FILE are both set: unset one of them")
            continue
        try:
            values[name] = Path(given[f"{name}_FILE"]).read_text("utf-8").removesuffix("\n")
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


def _field_names() -> set[str]:
    return {field.alias or name for name, field in Settings.model_fields.items()}


def _known_names() -> set[str]:
    return _field_names() | _secret_files()


def _secret_files() -> set[str]:
    return {f"{name}_FILE" for name in SECRETS}


def _contradictions(values: Mapping[str, str]) -> Iterator[str]:
    """Rules between settings, which hold whether or not each one alone is right."""
    yield from listener_contradictions(values)
    yield from livekit_contradictions(values)
    yield from api_secret_contradictions(values)
    yield from auth_service_contradictions(values)
    yield from oidc_contradictions(values)
    yield from limit_contradictions(values)
    required = WORDS.get(values.get("AUTH_REQUIRED", "false").lower())
    if required and not _VERIFIERS & values.keys():
        yield (
            "AUTH_REQUIRED is on, but nothing can verify a credential: set AUTH_API_SECRETS_JSON, "
            "TENANTROOMS_TENANTS_FILE, AUTH_SERVICE_URL or TENANTROOMS_OIDC_ISSUER"
        )
