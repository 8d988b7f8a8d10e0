"""Owns how single values are written in the environment: each function reads one kind of text.

Each raises a ValueError whose text never holds the value: it goes onto the screen of who starts the service.
"""

import datetime as dt
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, SecretStr

from common.addresses import is_loopback
from service.auth.principal import TenantId, is_tenant_id
from service.auth.secret_list import check_secret
from service.certificates import Certificates, read_certificates

WORDS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _flag(value: str) -> bool:
    try:
        return WORDS[value.lower()]
    except KeyError:
        raise ValueError("is none of true, false, 1, 0, yes, no") from None


def split_url(value: str, schemes: str) -> SplitResult:
    """The parts of an address that has a host, perhaps a port and a path, and nothing else.

    Raises:
        ValueError: it has not, or its scheme is none of these.
    """
    try:
        parts = urlsplit(value)
        (parts.hostname or "").encode("idna")
        well_formed = parts.hostname and parts.port != 0 and not any(map(str.isspace, value))
    except ValueError:  # its text may quote the value
        raise ValueError("has no valid host or port") from None
    if parts.scheme not in schemes.split() or not well_formed:
        starts = " or ".join(f"{scheme}://" for scheme in schemes.split())
        raise ValueError(f"is not an address that starts with {starts}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("has a user name, a query or a fragment, which this address cannot have")
    return parts


def is_plain_and_remote(url: str) -> bool:
    """Whether this is an http address whose host is not this machine's loopback."""
    try:
        parts = urlsplit(url)
    except ValueError:  # reported by the field itself
        return False
    return parts.scheme == "http" and bool(parts.hostname) and not is_loopback(parts.hostname or "")


def read_file(value: str) -> bytes:
    """What stands in the file of this path.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return Path(value).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a path"
        raise ValueError(f"names a file that cannot be read: {reason}") from None


def _listen_address(value: str) -> str:
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("is neither host:port nor unix:path")
    return value


def _tenant_id(value: str) -> TenantId:
    if not is_tenant_id(value):
        raise ValueError("is not a tenant id: it is blank, padded with blanks or not valid Unicode")
    return TenantId(value)


def _api_secret(value: str) -> SecretStr:
    check_secret(value)
    return SecretStr(value)


def _authorities(value: str) -> Certificates:
    certificates = read_certificates(read_file(value))
    try:
        ssl.create_default_context(cadata=certificates.pem.decode("ascii"))
    except ssl.SSLError:
        raise ValueError("names a file with a certificate that cannot be used") from None
    return certificates


def authorities_out_of_date(
    now: dt.datetime, name: str, authorities: Certificates | None, before: Certificates | None
) -> Iterator[str]:
    """Why nobody could be vouched for now by the certificates of this setting.

    Those that were in use before are not looked at.
    """
    if authorities is not None and authorities != before:
        yield from (f"{name} {problem}" for problem in authorities.trust_problems(now))


Flag = Annotated[bool, BeforeValidator(_flag)]
ListenAddress = Annotated[str, BeforeValidator(_listen_address)]
ApiSecretId = Annotated[TenantId, BeforeValidator(_tenant_id)]
ApiSecretText = Annotated[SecretStr, BeforeValidator(_api_secret)]
Authorities = Annotated[Certificates, BeforeValidator(_authorities)]
