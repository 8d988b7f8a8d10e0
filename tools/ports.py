"""Ports on this machine: finds free ones, and tells which are taken."""

import errno
import socket
from typing import Final

__all__ = ["free_tcp_port", "free_udp_port", "is_taken"]

LOOPBACK: Final = "127.0.0.1"


def free_tcp_port() -> int:
    """A TCP port that was free on the loopback address a moment ago."""
    return _free(socket.SOCK_STREAM)


def free_udp_port() -> int:
    """A UDP port that was free on the loopback address a moment ago."""
    return _free(socket.SOCK_DGRAM)


def is_taken(host: str, port: int) -> bool:
    """Whether nobody can listen on this TCP port now, most likely as another process does.

    Raises OSError when `host` is no address of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        # As servers do it: connections of an earlier run that linger are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            # EACCES: a port below 1024, for the system only.
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return True
            raise
    return False


def _free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
