"""Owns the address where the service listens: alone there, with the certificates of the moment, for how long.

Step before: `service.server` has a gRPC server. Step after: a call that arrives goes to
`service.error_boundary`. A client certificate lets a client connect; it never says who is calling.
"""

import errno
import socket
from collections.abc import Sequence
from typing import Final

import grpc

from service.certificates import ListenerCertificates
from service.start_errors import AddressInUse

_PROBE_SECONDS: Final = 2.0
_UNIX: Final = "unix:"
_SETTING: Final = "TENANTROOMS_GRPC_LISTEN"


class ListenerTls:
    """The listener's TLS, whose certificates can be replaced while it runs.

    Args:
        certificates: those in use until `show` gives others. Whether clients need one is settled by them.
    """

    def __init__(self, certificates: ListenerCertificates) -> None:
        self._certificates = certificates

    def show(self, certificates: ListenerCertificates) -> None:
        """Uses these for every connection that is made from now on; those that are open stay."""
        self._certificates = certificates

    def credentials(self) -> grpc.ServerCredentials:
        """What gRPC listens with."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            self._configuration,
            require_client_authentication=self._certificates.client_ca is not None,
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        """The certificates for one connection; called by gRPC's own threads.

        Always given anew, though they are mostly the same: gRPC then forgets the sessions that clients could
        resume, and a resumed session's certificate is not checked again.
        """
        chain, key, client_ca = self._certificates
        return grpc.ssl_server_certificate_configuration(
            [(key.pem, chain.pem)], None if client_ca is None else client_ca.pem
        )


def connection_options(age_seconds: float | None, grace_seconds: float) -> Sequence[tuple[str, int]]:
    """The options of a gRPC server that bound how long a connection lives.

    Args:
        age_seconds: after this, give or take a tenth, a client is asked to make its next calls on another
            connection; None asks nobody.
        grace_seconds: how much longer calls under way may take.
    """
    if age_seconds is None:
        return ()
    return (
        ("grpc.max_connection_age_ms", round(age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round(grace_seconds * 1000)),
    )


def bind(server: grpc.aio.Server, address: str, tls: ListenerTls | None) -> None:
    """Binds the address, with TLS or in plain text.

    Raises:
        AddressInUse: something else answers there, or it cannot be bound.
    """
    if _answers(address):
        raise AddressInUse(address, _SETTING)
    try:
        if tls is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, tls.credentials())
    except RuntimeError as error:
        raise AddressInUse(address, _SETTING) from error


def _answers(address: str) -> bool:
    """Whether a process listens on this Unix socket, which gRPC would take away from it without a word."""
    if not address.startswith(_UNIX):
        return False
    path = address.removeprefix(_UNIX)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path.removeprefix("//") if path.startswith("///") else path)
        except OSError as error:
            # Nothing there, or what a process left that has ended. Anything else may be alive.
            return error.errno not in (errno.ENOENT, errno.ECONNREFUSED)
    return True
