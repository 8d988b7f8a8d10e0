"""Owns the settings of what operators see: metrics, and the log of their own reads."""

from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field


class HostPort(NamedTuple):
    """An address to listen on; the host without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _host_port(value: str) -> HostPort:
    host, _, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed) or any(map(str.isspace, host)):
        raise ValueError("is not host:port")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("is not host:port")
    return HostPort(host[1:-1] if bracketed else host, int(port))


def _path(value: str) -> Path:
    if not value or "\0" in value:
        raise ValueError("is not the path of a file")
    return Path(value)


class ObservabilitySettings(BaseModel):
    """Where metrics can be read, and where reads by operators are recorded."""

    metrics_listen: Annotated[HostPort | None, BeforeValidator(_host_port)] = Field(
        None, alias="TENANTROOMS_METRICS_LISTEN"
    )
    audit_log: Annotated[Path | None, BeforeValidator(_path)] = Field(None, alias="TENANTROOMS_AUDIT_LOG")
