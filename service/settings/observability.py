"""Owns the settings of what operators see: the log, metrics, and the log of their own reads."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from common.addresses import HostPort, read_host_port
from common.logs import LogLevel
from common.setting_values import read_traces_endpoint


def _path(value: str) -> Path:
    if "\0" in value:
        raise ValueError("is not the path of a file")
    return Path(value)


class ObservabilitySettings(BaseModel):
    """What is logged, where metrics can be read and traces go, and where reads by operators are recorded."""

    metrics_listen: Annotated[HostPort | None, BeforeValidator(read_host_port)] = Field(
        None, alias="TENANTROOMS_METRICS_LISTEN"
    )
    metrics_tenants: int = Field(0, alias="TENANTROOMS_METRICS_TENANTS", ge=0, le=10_000)
    traces_endpoint: Annotated[str | None, BeforeValidator(read_traces_endpoint)] = Field(
        None, alias="TENANTROOMS_TRACES_ENDPOINT"
    )
    traces_ratio: float = Field(1.0, alias="TENANTROOMS_TRACES_RATIO", ge=0, le=1)
    log_level: LogLevel = Field(LogLevel.INFO, alias="TENANTROOMS_LOG_LEVEL")
    audit_log: Annotated[Path | None, BeforeValidator(_path)] = Field(None, alias="TENANTROOMS_AUDIT_LOG")
