"""Owns the settings of what operators see: the log, metrics, and the log of their own reads."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from service.host_port import HostPort, read_host_port
from service.logs import LogLevel


def _path(value: str) -> Path:
    if "\0" in value:
        raise ValueError("is not the path of a file")
    return Path(value)


class ObservabilitySettings(BaseModel):
    """How much is logged, where metrics can be read, and where reads by operators are recorded."""

    metrics_listen: Annotated[HostPort | None, BeforeValidator(read_host_port)] = Field(
        None, alias="TENANTROOMS_METRICS_LISTEN"
    )
    log_level: LogLevel = Field(LogLevel.INFO, alias="TENANTROOMS_LOG_LEVEL")
    audit_log: Annotated[Path | None, BeforeValidator(_path)] = Field(None, alias="TENANTROOMS_AUDIT_LOG")
