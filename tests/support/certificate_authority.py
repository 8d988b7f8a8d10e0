"""A certificate authority of a test's own, and the certificates that it vouches for."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.support.certificates import Certificate

DAY: Final = dt.timedelta(days=1)

_SIGNS_CERTIFICATES: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """An authority; its own certificate is in a PEM file of the folder.

    Args:
        folder: where all files go.
        name: of the authority; its file is `<name>.pem`.
        ends: when its certificate does; tomorrow unless it is given.
    """

    def __init__(self, folder: Path, name: str = "authority", *, ends: dt.datetime | None = None) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        own = (
            _builder(self._name, self._name, self._key, ends=ends)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .add_extension(_SIGNS_CERTIFICATES, True)
        )
        self._certificate = own.sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.pem)

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        name: str,
        *,
        hosts: Sequence[str] = ("127.0.0.1",),
        key: _Key | None = None,
        begins: dt.datetime | None = None,
        ends: dt.datetime | None = None,
    ) -> Certificate:
        """A certificate and its key, in `<name>.pem` and `<name>.key`; good from yesterday until tomorrow."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        built = (
            _builder(_named(name), self._name, key, begins=begins, ends=ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)
        )
        files = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        signed = built.sign(self._key, hashes.SHA256())
        files.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: _Key,
    *,
    begins: dt.datetime | None = None,
    ends: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    ends = ends or now + DAY
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins or min(now, ends) - DAY)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
