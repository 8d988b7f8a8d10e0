"""Owns how single values are written in the environment: each function reads one kind of text.

Each raises a ValueError whose text never holds the value: it goes onto the screen of who starts the edge.
"""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from common.addresses import can_be_looked_up


def _host(value: str) -> str:
    if not value or any(map(str.isspace, value)) or set(value) & set("/@") or not can_be_looked_up(value):
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


Host = Annotated[str, AfterValidator(_host)]
Target = Annotated[str, AfterValidator(_target)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_origins)]
