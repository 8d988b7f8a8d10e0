"""Owns what must stand in PEM files of certificates and keys for everybody to speak TLS with them today.

Step before: the settings have read a file. Step after: `service.certificates` and `edge.tls_files` hold what
is usable.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

CLOCKS_MAY_DIFFER: Final = dt.timedelta(minutes=5)
"""A certificate that begins so little ahead was just made, on a machine whose clock is ahead of ours."""

_SMALLEST_RSA_BITS: Final = 2048
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


class UnusablePemError(Exception):
    """A file cannot be used; the text goes on from "the file", without anything that stands in it."""


def certificates_in(pem: bytes) -> list[x509.Certificate]:
    """The certificates in this text, at least one.

    Raises:
        UnusablePemError: there is none, or one of them cannot be read.
    """
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except Exception:  # noqa: BLE001 (its errors have no base of their own, and may quote the file)
        raise UnusablePemError("holds no certificates in PEM form") from None
    if len(certificates) != pem.count(_BEGIN):  # one that is cut off at the end is left out without a word
        raise UnusablePemError("ends in a certificate that is cut short")
    return certificates


def key_in(pem: bytes) -> RSAPrivateKey | EllipticCurvePrivateKey:
    """The private key in this text.

    Raises:
        UnusablePemError: it is not one that everybody can speak TLS with, unencrypted.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except Exception:  # noqa: BLE001 (as above)
        raise UnusablePemError("holds no unencrypted private key in PEM form") from None
    match key:
        case RSAPrivateKey() if key.key_size >= _SMALLEST_RSA_BITS:
            return key
        case EllipticCurvePrivateKey(curve=SECP256R1() | SECP384R1()):
            return key
        case _:
            raise UnusablePemError(
                "holds a key that is neither RSA of at least 2,048 bits nor EC on P-256 or P-384"
            )


def certificates_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """These alone, without what else stood in their file."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_pem(key: RSAPrivateKey | EllipticCurvePrivateKey) -> bytes:
    """This key in the one form that every TLS library reads."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def life_problems(begins: dt.datetime, ends: dt.datetime, now: dt.datetime) -> Iterator[str]:
    """Why nobody would accept a certificate with this life now; goes on from "a certificate that"."""
    if ends < now:
        yield f"ended on {ends:%Y-%m-%d}"
    if begins > now + CLOCKS_MAY_DIFFER:
        yield f"begins on {begins:%Y-%m-%d}"
