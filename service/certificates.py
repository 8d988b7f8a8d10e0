"""Owns the service's certificates and their keys: what is read of them, and when they can be used.

Step before: `service.settings` has read the files. Step after: `service.listener` shows the pair to clients
and checks theirs, and `service.upstream_http` checks servers.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.pem import (
    CLOCKS_MAY_DIFFER,
    UnusablePemError,
    certificates_in,
    certificates_pem,
    key_in,
    key_pem,
    life_problems,
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """One or more certificates, at least one.

    Attributes:
        pem: them alone, without comments and without anything else that stood beside them.
        lives: from when until when each is valid.
        public: the public key of the first.
    """

    pem: bytes
    lives: tuple[tuple[dt.datetime, dt.datetime], ...]
    public: bytes

    def chain_problems(self, now: dt.datetime) -> Iterator[str]:
        """Why no client would accept the first of these at this moment, which is a server's own."""
        for problem in life_problems(*self.lives[0], now):
            yield f"names a certificate that {problem}"

    def trust_problems(self, now: dt.datetime) -> Iterator[str]:
        """Why nobody could be vouched for by these at this moment."""
        if not any(begin <= now + CLOCKS_MAY_DIFFER and now <= end for begin, end in self.lives):
            yield "names a file in which no certificate is valid today"


@dataclass(frozen=True, slots=True)
class TlsKey:
    """The private key of a server's certificate; its repr does not show it.

    Attributes:
        pem: unencrypted.
        public: its public half.
    """

    pem: bytes = field(repr=False)
    public: bytes


class ListenerCertificates(NamedTuple):
    """What the listener shows, and whom it lets connect.

    Attributes:
        chain: the service's own certificate, then those between it and its authority.
        key: of the first of them.
        client_ca: what must vouch for a client; None lets clients without a certificate connect.
    """

    chain: Certificates
    key: TlsKey
    client_ca: Certificates | None


def read_certificates(pem: bytes) -> Certificates:
    """The certificates in this text.

    Raises:
        ValueError: there is none, or one of them cannot be read.
    """
    try:
        certificates = certificates_in(pem)
        public = _written(certificates[0].public_key())
    except UnusablePemError as error:
        raise ValueError(f"names a file that {error}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts may quote the file
        raise ValueError("names a file with a certificate whose key cannot be read") from None
    return Certificates(
        certificates_pem(certificates),
        tuple((each.not_valid_before_utc, each.not_valid_after_utc) for each in certificates),
        public,
    )


def read_tls_key(pem: bytes) -> TlsKey:
    """The private key in this text.

    Raises:
        ValueError: it is not one that all gRPC clients accept, in plain PEM form.
    """
    try:
        key = key_in(pem)
    except UnusablePemError as error:
        raise ValueError(f"names a file that {error}") from None
    return TlsKey(key_pem(key), _written(key.public_key()))


def _written(key: PublicKeyTypes) -> bytes:
    """A public key in one form for all that are the same."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
