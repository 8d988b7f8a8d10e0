"""Owns the edge's settings: names, defaults, rules. Only `from_environment` here reads the environment.

Each module of this package has the settings of one concern; `values` reads single values, `names` finds
misspelt ones.
Before it: `__main__`, at start. After it: everything else is handed what it needs.
"""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from common.addresses import HostPort, read_host_port
from common.logs import LogLevel
from common.setting_values import read_traces_endpoint
from common.settings import SettingsError
from edge.settings.limits import LimitSettings
from edge.settings.names import PREFIX, empty, misspelt
from edge.settings.tls import TlsSettings
from edge.settings.values import Host, Origins, Target


class Limits(BaseModel):
    """What a request may have at most; with more it is refused.

    Attributes:
        path_bytes: path and query together; 414.
        header_bytes: all header fields together; 431.
        body_bytes: the body, which no route reads; 413.
        body_seconds: until the end of the body has come; 408.
    """

    model_config = ConfigDict(frozen=True)

    path_bytes: int
    header_bytes: int
    body_bytes: int
    body_seconds: float


class EdgeSettings(TlsSettings, LimitSettings):
    """How the edge runs. Field names are those of the environment."""

    model_config = ConfigDict(frozen=True)

    host: Annotated[Host, Field(alias="HOST")] = "127.0.0.1"
    port: Annotated[int, Field(alias="PORT", ge=1, le=65_535)] = 3001
    grpc_target: Annotated[Target, Field(alias="TENANTROOMS_GRPC_TARGET")] = "127.0.0.1:50051"
    timeout_seconds: Annotated[float, Field(alias=PREFIX + "TIMEOUT_SECONDS", gt=0, le=300)] = 10.0
    cors_origins: Annotated[Origins, Field(alias=PREFIX + "CORS_ORIGINS")] = ()
    forward_headers: Annotated[bool, Field(alias=PREFIX + "FORWARD_HEADERS")] = True
    workers: Annotated[int, Field(alias=PREFIX + "WORKERS", ge=1, le=64)] = 1
    header_timeout_seconds: Annotated[
        float, Field(alias=PREFIX + "HEADER_TIMEOUT_SECONDS", ge=0.1, le=60)
    ] = 5.0
    announce_seconds: Annotated[float, Field(alias=PREFIX + "ANNOUNCE_SECONDS", ge=0, le=300)] = 1.0
    stop_timeout_seconds: Annotated[int, Field(alias=PREFIX + "STOP_TIMEOUT_SECONDS", ge=1, le=300)] = 15
    max_path_bytes: Annotated[int, Field(alias=PREFIX + "MAX_PATH_BYTES", ge=1024, le=32 * 1024)] = 8 * 1024
    max_header_bytes: Annotated[int, Field(alias=PREFIX + "MAX_HEADER_BYTES", ge=1024, le=128 * 1024)] = (
        32 * 1024
    )
    max_body_bytes: Annotated[int, Field(alias=PREFIX + "MAX_BODY_BYTES", ge=0, le=1024 * 1024)] = 64 * 1024
    metrics_listen: Annotated[
        HostPort | None, BeforeValidator(read_host_port), Field(alias=PREFIX + "METRICS_LISTEN")
    ] = None
    traces_endpoint: Annotated[
        str | None, BeforeValidator(read_traces_endpoint), Field(alias=PREFIX + "TRACES_ENDPOINT")
    ] = None
    traces_ratio: Annotated[float, Field(alias=PREFIX + "TRACES_RATIO", ge=0, le=1)] = 1.0
    log_level: Annotated[LogLevel, Field(alias=PREFIX + "LOG_LEVEL")] = LogLevel.INFO

    @property
    def limits(self) -> Limits:
        """What a request may have at most."""
        return Limits(
            path_bytes=self.max_path_bytes,
            header_bytes=self.max_header_bytes,
            body_bytes=self.max_body_bytes,
            body_seconds=self.header_timeout_seconds,
        )

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Self:
        """The settings in these variables; an empty one counts as unset, unless it is about TLS.

        Names that are not the edge's are ignored, unless they are nearly so.

        Raises:
            SettingsError: with all problems at once.
        """
        names = [field.alias for field in cls.model_fields.values() if field.alias is not None]
        problems = [*misspelt(environment, names), *empty(environment, names)]
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


def _problem(detail: Any) -> str:
    message: str = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    # A default that is refused, because of what else is set, goes by the field's own name.
    field = EdgeSettings.model_fields.get(detail["loc"][0])
    return f"{field.alias if field else detail['loc'][0]}: {message[:1].lower()}{message[1:]}"
