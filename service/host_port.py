"""Owns addresses of a host and a port: how one is written and read.

Step before: `service.settings` has the text. Step after: `service.metrics_listener` listens there.
"""

import re
from typing import Final, NamedTuple

_HOST_PORT: Final = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]]+)):(?P<port>[0-9]{1,5})")


class HostPort(NamedTuple):
    """An address to listen on; the host without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_host_port(value: str) -> HostPort:
    """The address in this text.

    Raises:
        ValueError: it is none.
    """
    parts = _HOST_PORT.fullmatch(value)
    if parts is None or int(parts["port"]) > 65535:
        raise ValueError("is not host:port, an IPv6 host in brackets")
    return HostPort(parts["ipv6"] or parts["host"], int(parts["port"]))
