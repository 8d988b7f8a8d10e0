"""Owns addresses of a host and a port: how one is written and read, and which are on this machine.

Step before: the settings have the text. Step after: somebody listens there, or warns of plain text.
"""

import ipaddress
import re
from typing import Final, NamedTuple

_HOST_PORT: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]/@]+)):(?P<port>[0-9]{1,5})"
)


class HostPort(NamedTuple):
    """An address to listen on; the host without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_host_port(value: str) -> HostPort:
    """The address in this text.

    Raises:
        ValueError: it is none; its text does not hold the value.
    """
    parts = _HOST_PORT.fullmatch(value)
    if parts is None or int(parts["port"]) > 65535 or not can_be_looked_up(parts["ipv6"] or parts["host"]):
        raise ValueError("must be host:port, an IPv6 host in brackets")
    return HostPort(parts["ipv6"] or parts["host"], int(parts["port"]))


def can_be_looked_up(host: str) -> bool:
    """Whether a look-up of this host could begin; a label over 63 characters, for one, cannot."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether this host, an address without brackets or a name, is this machine's own for sure."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_local(address: str) -> bool:
    """Whether a gRPC address is on this machine, as far as its form tells: no name is looked up."""
    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    return address.startswith("unix:") or is_loopback(host)
