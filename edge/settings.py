"""Owns the edge's settings. Only `from_environment` here reads the environment."""

import difflib
import os
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PREFIX: Final = "TENANTROOMS_EDGE_"


class SettingsError(Exception):
    """Settings that the edge cannot start with.

    Attributes:
        problems: one sentence each; none holds the value of a setting.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _host(value: str) -> str:
    if not value or any(character.isspace() or character in "/@" for character in value):
        raise ValueError("must be an IP address or a host name")
    return value.removeprefix("[").removesuffix("]")


def _target(value: str) -> str:
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65_536) or "/" in value:
        raise ValueError("must be host:port or unix:path")
    return value


def _origins(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _origin(value: str) -> str:
    scheme, separator, host = value.partition("://")
    well_formed = value.isascii() and value.isprintable() and not set(" /?#@*") & set(host)
    if value != "*" and not (scheme in {"http", "https"} and separator and host and well_formed):
        raise ValueError("must be origins like https://app.example.com, separated by commas, or *")
    return value.lower()


class Limits(BaseModel):
    """Sizes beyond which a request is refused, in bytes.

    Attributes:
        path_bytes: path and query together; 414.
        header_bytes: all header fields together; 431.
        body_bytes: the body, which no route reads; 413.
    """

    model_config = ConfigDict(frozen=True)

    path_bytes: int = 8 * 1024
    header_bytes: int = 32 * 1024
    body_bytes: int = 64 * 1024


class EdgeSettings(BaseModel):
    """How the edge runs. Field names are those of the environment."""

    model_config = ConfigDict(frozen=True)

    host: Annotated[str, AfterValidator(_host), Field(alias="HOST")] = "127.0.0.1"
    port: Annotated[int, Field(alias="PORT", ge=1, le=65_535)] = 3001
    grpc_target: Annotated[str, AfterValidator(_target), Field(alias="TENANTROOMS_GRPC_TARGET")] = (
        "127.0.0.1:50051"
    )
    timeout_seconds: Annotated[float, Field(alias=PREFIX + "TIMEOUT_SECONDS", gt=0, le=300)] = 10.0
    cors_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_origin)], ...],
        BeforeValidator(_origins),
        Field(alias=PREFIX + "CORS_ORIGINS"),
    ] = ()
    workers: Annotated[int, Field(alias=PREFIX + "WORKERS", ge=1, le=64)] = 1
    header_timeout_seconds: Annotated[
        float, Field(alias=PREFIX + "HEADER_TIMEOUT_SECONDS", ge=0.1, le=60)
    ] = 5.0
    stop_timeout_seconds: Annotated[int, Field(alias=PREFIX + "STOP_TIMEOUT_SECONDS", ge=1, le=300)] = 15
    max_path_bytes: Annotated[int, Field(alias=PREFIX + "MAX_PATH_BYTES", ge=1024, le=32 * 1024)] = 8 * 1024
    max_header_bytes: Annotated[int, Field(alias=PREFIX + "MAX_HEADER_BYTES", ge=1024, le=128 * 1024)] = (
        32 * 1024
    )
    max_body_bytes: Annotated[int, Field(alias=PREFIX + "MAX_BODY_BYTES", ge=0, le=1024 * 1024)] = 64 * 1024

    @property
    def limits(self) -> Limits:
        """The size limits."""
        return Limits(
            path_bytes=self.max_path_bytes,
            header_bytes=self.max_header_bytes,
            body_bytes=self.max_body_bytes,
        )

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Self:
        """The settings in these variables; an empty one counts as unset, and what is not ours is ignored.

        Raises:
            SettingsError: with all problems at once.
        """
        names = [field.alias for field in cls.model_fields.values() if field.alias is not None]
        problems = [
            f"{name}: no such setting{_did_you_mean(name, names)}"
            for name in sorted(environment)
            if name.startswith(PREFIX) and name not in names
        ]
        try:
            settings = cls.model_validate(
                {name: environment[name] for name in names if environment.get(name)}
            )
        except ValidationError as error:
            problems += [_problem(detail) for detail in error.errors(include_url=False, include_input=False)]
        else:
            if not problems:
                return settings
        raise SettingsError(problems)


def from_environment() -> EdgeSettings:
    """The settings in this process's environment.

    Raises:
        SettingsError: with all problems at once.
    """
    return EdgeSettings.from_env(os.environ)


def _did_you_mean(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _problem(detail: Any) -> str:
    message: str = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{detail['loc'][0]}: {message[:1].lower()}{message[1:]}"
