"""Owns the edge's settings. Only `from_environment` here reads the environment."""

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)

from common.logs import LogLevel
from edge.limit_settings import SERVICE_TWINS, LimitSettings
from edge.metrics import HostPort
from edge.tls_files import (
    UnusableFilesError,
    load_authorities,
    load_certificates,
    load_key,
    load_pair,
    read_file,
    system_authorities,
)

PREFIX: Final = "TENANTROOMS_EDGE_"

# The service's settings whose names are like ours.
_OF_THE_SERVICE: Final = frozenset(
    {"TENANTROOMS_METRICS_LISTEN", "TENANTROOMS_TRACES_ENDPOINT", "TENANTROOMS_TRACES_RATIO"}
)


class SettingsError(Exception):
    """Settings that the edge cannot start with.

    Attributes:
        problems: one sentence each; none holds the value of a setting.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _host(value: str) -> str:
    message = "must be an IP address or a host name"
    if not value or any(character.isspace() or character in "/@" for character in value):
        raise ValueError(message)
    try:
        value.encode("idna")  # every look-up begins with it; a label over 63 characters fails, for one
    except UnicodeError:
        raise ValueError(message) from None
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


def _host_port(value: str) -> HostPort:
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ValueError("must be host:port, an IPv6 host in brackets")
    return HostPort(_host(host), int(port))


def _endpoint(value: str | None) -> str | None:
    if value is None:
        return None
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError("must be http(s)://host[:port][/path], without a user, a query or a fragment")
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        raise ValueError("needs OpenTelemetry, which is not installed: see requirements-traces.txt")
    return value


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


class EdgeSettings(LimitSettings):
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

    metrics_listen: Annotated[
        HostPort | None, BeforeValidator(_host_port), Field(alias=PREFIX + "METRICS_LISTEN")
    ] = None
    traces_endpoint: Annotated[
        str | None, AfterValidator(_endpoint), Field(alias=PREFIX + "TRACES_ENDPOINT")
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
        problems = [*_misspelt(environment, names), *_empty(environment, names)]
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


def is_local(target: str) -> bool:
    """Whether a gRPC target is on this machine, as far as its form tells: no name is looked up."""
    host = target.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if target.startswith("unix:") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _present(*paths: Path | None) -> tuple[Path, ...]:
    return tuple(path for path in paths if path is not None)


def quiet_grpc() -> None:
    """Keeps gRPC's own log to errors, unless GRPC_VERBOSITY is set. Call it before grpc is imported.

    Below that it writes lines that are no JSON, among them what peers send, as it is.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def _misspelt(environment: Mapping[str, str], names: list[str]) -> Iterator[str]:
    # `HOST` and `PORT` are too common: what is like them may be anybody's.
    ours = [name for name in names if name.startswith("TENANTROOMS_")]
    for name in sorted(environment.keys() - set(names)):
        spelt = name.upper()
        if name in SERVICE_TWINS or name in _OF_THE_SERVICE:
            continue
        surely_ours = spelt.startswith(PREFIX)
        # The service's names, which are not known here, are not as close as 0.9 to ours that begin alike.
        grpc = "TENANTROOMS_GRPC_"
        alike = [our for our in ours if our.startswith(grpc) or not spelt.startswith(grpc)]
        near = difflib.get_close_matches(spelt, alike, n=1, cutoff=0.6 if surely_ours else 0.9)
        # Ignored, what is about TLS would leave the way to the service less safe than was meant.
        own = spelt.replace(grpc, f"{PREFIX}GRPC_", 1)
        if spelt.startswith(grpc) and own in names:
            near = [own]
        if near:
            yield f"{name}: no such setting; did you mean {near[0]}?"
        elif surely_ours:
            yield f"{name}: no such setting"


def _empty(environment: Mapping[str, str], names: list[str]) -> Iterator[str]:
    # Without its file of certificates, or without TLS, the edge would be less safe than was meant.
    for name in names:
        if name.endswith(("_FILE", "_GRPC_TLS")) and environment.get(name) == "":
            yield f"{name}: is empty; give it a value, or unset it"


def _problem(detail: Any) -> str:
    message: str = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    # A default that is refused, because of what else is set, goes by the field's own name.
    field = EdgeSettings.model_fields.get(detail["loc"][0])
    return f"{field.alias if field else detail['loc'][0]}: {message[:1].lower()}{message[1:]}"
