"""Owns the settings of what operators see: the log, metrics, and the log of their own reads."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from common.logs import LogLevel
from service.host_port import HostPort, read_host_port


def _path(value: str) -> Path:
    if "\0" in value:
        raise ValueError("is not the path of a file")
    return Path(value)


def _endpoint(value: str | None) -> str | None:
    if value is None:
        return None
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError("is not http(s)://host[:port][/path], without a user, a query or a fragment")
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        raise ValueError("needs OpenTelemetry, which is not installed: see requirements-traces.txt")
    return value


class ObservabilitySettings(BaseModel):
    """What is logged, where metrics can be read and traces go, and where reads by operators are recorded."""

    metrics_listen: Annotated[HostPort | None, BeforeValidator(read_host_port)] = Field(
        None, alias="TENANTROOMS_METRICS_LISTEN"
    )
    metrics_tenants: int = Field(0, alias="TENANTROOMS_METRICS_TENANTS", ge=0, le=10_000)
    traces_endpoint: Annotated[str | None, AfterValidator(_endpoint)] = Field(
        None, alias="TENANTROOMS_TRACES_ENDPOINT"
    )
    traces_ratio: float = Field(1.0, alias="TENANTROOMS_TRACES_RATIO", ge=0, le=1)
    log_level: LogLevel = Field(LogLevel.INFO, alias="TENANTROOMS_LOG_LEVEL")
    audit_log: Annotated[Path | None, BeforeValidator(_path)] = Field(None, alias="TENANTROOMS_AUDIT_LOG")
