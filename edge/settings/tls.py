"""Owns the settings of TLS: the edge's own certificate, and the connection to the service."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo

from edge.settings.names import PREFIX
from edge.tls_files import (
    UnusableFilesError,
    load_authorities,
    load_certificates,
    load_key,
    load_pair,
    read_file,
    system_authorities,
)


def _server_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", value):
        raise ValueError("must be a host name or an IP address")
    return value


def _needs_tls(value: Path | str | None, info: ValidationInfo) -> Path | str | None:
    if value is not None and info.data.get("grpc_tls") is False:
        raise ValueError(f"needs {PREFIX}GRPC_TLS=true")
    return value


def _authorities(value: Path | None, info: ValidationInfo) -> Path | None:
    if value is not None:
        _usable(lambda: load_authorities(read_file(value)))
    elif info.data.get("grpc_tls") and system_authorities() is None:
        raise ValueError("is needed, as this machine's own authorities were not found")
    return value


def _certificate(value: Path) -> Path:
    _usable(lambda: load_certificates(read_file(value)))
    return value


def _key_of(certificate_field: str) -> AfterValidator:
    """A key file and the certificate file before it: both or neither, and a pair."""

    def check(value: Path | None, info: ValidationInfo) -> Path | None:
        if certificate_field not in info.data:  # refused already, and the key may be to be refused too
            if value is not None:
                _usable(lambda: load_key(read_file(value)))
            return value
        certificates = info.data[certificate_field]
        if (value is None) is not (certificates is None):
            raise ValueError("a certificate and its key go together, and only one of the two is set")
        if value is not None:
            _usable(lambda: load_pair((read_file(certificates), read_file(value))))
        return value

    return AfterValidator(check)


def _usable(load: Callable[[], object]) -> None:
    try:
        load()
    except UnusableFilesError as error:
        raise ValueError(str(error)) from None


class TlsSettings(BaseModel):
    """With which certificates the edge listens and calls, and whom it trusts as the service."""

    tls_cert_file: Annotated[
        Path | None, AfterValidator(_certificate), Field(alias=PREFIX + "TLS_CERT_FILE")
    ] = None
    tls_key_file: Annotated[
        Path | None, _key_of("tls_cert_file"), Field(alias=PREFIX + "TLS_KEY_FILE", validate_default=True)
    ] = None
    tls_min_version: Annotated[Literal["1.2", "1.3"], Field(alias=PREFIX + "TLS_MIN_VERSION")] = "1.2"
    grpc_tls: Annotated[bool, Field(alias=PREFIX + "GRPC_TLS")] = False
    grpc_ca_file: Annotated[
        Path | None,
        AfterValidator(_authorities),
        AfterValidator(_needs_tls),
        Field(alias=PREFIX + "GRPC_CA_FILE", validate_default=True),
    ] = None
    grpc_cert_file: Annotated[
        Path | None,
        AfterValidator(_certificate),
        AfterValidator(_needs_tls),
        Field(alias=PREFIX + "GRPC_CERT_FILE"),
    ] = None
    grpc_key_file: Annotated[
        Path | None,
        _key_of("grpc_cert_file"),
        AfterValidator(_needs_tls),
        Field(alias=PREFIX + "GRPC_KEY_FILE", validate_default=True),
    ] = None
    grpc_server_name: Annotated[
        str | None,
        AfterValidator(_server_name),
        AfterValidator(_needs_tls),
        Field(alias=PREFIX + "GRPC_SERVER_NAME"),
    ] = None

    @property
    def listener_files(self) -> tuple[Path, ...]:
        """The edge's own certificate and key; none in plain text."""
        return _present(self.tls_cert_file, self.tls_key_file)

    @property
    def service_files(self) -> tuple[Path, ...]:
        """Whom to trust as the service, and perhaps certificate and key to show it; none in plain text."""
        if not self.grpc_tls:
            return ()
        return _present(self.grpc_ca_file or system_authorities(), self.grpc_cert_file, self.grpc_key_file)


def _present(*paths: Path | None) -> tuple[Path, ...]:
    return tuple(path for path in paths if path is not None)
