"""Owns reading certificates and their keys in PEM form: what is usable for TLS, and from when until when.

Step before: `service.settings` has read the files. Step after: `service.listener` shows the pair to clients
and checks theirs, and `service.upstream_http` checks servers.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

CLOCKS_MAY_DIFFER: Final = dt.timedelta(minutes=5)
"""A certificate that begins so little ahead was just made, on a machine whose clock is ahead of ours."""

_SMALLEST_RSA_BITS: Final = 2048
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


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
        begin, end = self.lives[0]
        if end < now:
            yield f"names a certificate that ended on {end:%Y-%m-%d}"
        if begin > now + CLOCKS_MAY_DIFFER:
            yield f"names a certificate that begins on {begin:%Y-%m-%d}"

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
        parsed = tuple(x509.load_pem_x509_certificates(pem))
        public = _written(parsed[0].public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts may quote the file
        raise ValueError("names a file that does not hold certificates in PEM form") from None
    if len(parsed) != pem.count(_BEGIN):  # one that is cut off at the end is left out without a word
        raise ValueError("names a file whose last certificate is cut short")
    return Certificates(
        b"".join(each.public_bytes(Encoding.PEM) for each in parsed),
        tuple((each.not_valid_before_utc, each.not_valid_after_utc) for each in parsed),
        public,
    )


def read_tls_key(pem: bytes) -> TlsKey:
    """The private key in this text.

    Raises:
        ValueError: it is not one that all gRPC clients accept, in plain PEM form.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts may quote the file
        raise ValueError("names a file that does not hold an unencrypted private key in PEM form") from None
    if not _is_usable(key):
        raise ValueError("names a key that is neither RSA of at least 2,048 bits nor EC on P-256 or P-384")
    return TlsKey(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), _written(key.public_key())
    )


def _written(key: PublicKeyTypes) -> bytes:
    """A public key in one form for all that are the same."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _is_usable(key: object) -> bool:
    match key:
        case RSAPrivateKey():
            return key.key_size >= _SMALLEST_RSA_BITS
        case EllipticCurvePrivateKey():
            return isinstance(key.curve, SECP256R1 | SECP384R1)
        case _:
            return False
