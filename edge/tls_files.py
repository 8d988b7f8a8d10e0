"""Owns the PEM files of TLS: what they must hold, and noticing that they have been replaced.

What is checked is what is used: the very bytes that were read, so that nothing can change in between.
Before it: `settings`, which checks the files at start. After it: `listener` and `service_client`, which put
new files into use.
"""

import datetime as dt
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

LOOK_SECONDS: Final = 0.5
"""How long to wait between two looks at watched files."""

_CLOCKS_MAY_DIFFER: Final = dt.timedelta(minutes=5)

# Where distributions keep all authorities in one file; OpenSSL's own default is often a folder.
_SYSTEM_AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

Value = TypeVar("Value")
Contents = tuple[bytes | None, ...]


class UnusableFilesError(Exception):
    """The files cannot be used; the text says why, without anything that stands in them."""


@dataclass(frozen=True)
class Pair:
    """A certificate, with those that link it to an authority, and its private key; both in PEM."""

    certificates: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class ServiceTls:
    """What a TLS connection to the service is made with.

    Attributes:
        authorities: who may vouch for the service's certificate, in PEM.
        pair: what the edge shows of itself, if it does.
    """

    authorities: bytes
    pair: Pair | None


def system_authorities() -> Path | None:
    """The file with the authorities that this machine trusts; `SSL_CERT_FILE` may name another one."""
    own = ssl.get_default_verify_paths().cafile
    return next((Path(file) for file in (own, *_SYSTEM_AUTHORITIES) if file and Path(file).is_file()), None)


def load_pair(contents: Contents) -> Pair:
    """The pair in the contents of its two files: certificates, key.

    Raises:
        UnusableFilesError: what is there is no pair, or not one that everybody can speak TLS with today.
    """
    certificates_pem, key_pem = contents
    certificates = load_certificates(certificates_pem)
    key = load_key(key_pem)
    # In one form each, as not every TLS library reads all of them, and without what else is in the files.
    pair = Pair(_pem(certificates), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with PairInMemory(pair) as file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file.path)
        except ssl.SSLError:
            raise UnusableFilesError("the certificate and the key do not belong together") from None
    return pair


def load_certificates(pem: bytes | None) -> list[x509.Certificate]:
    """A certificate that can be shown today, with those that link it to an authority.

    Raises:
        UnusableFilesError: what is there is none.
    """
    certificates = _certificates(pem)
    first, now = certificates[0], dt.datetime.now(dt.UTC)
    if first.version is not x509.Version.v3:
        raise UnusableFilesError("the certificate is not one of X.509 version 3")
    if first.not_valid_after_utc < now:
        raise UnusableFilesError(f"the certificate ended on {first.not_valid_after_utc:%Y-%m-%d}")
    if first.not_valid_before_utc > now + _CLOCKS_MAY_DIFFER:
        raise UnusableFilesError(f"the certificate begins on {first.not_valid_before_utc:%Y-%m-%d}")
    return certificates


def load_authorities(pem: bytes | None) -> bytes:
    """The certificates of authorities, in PEM.

    Raises:
        UnusableFilesError: there are none.
    """
    return _pem(_certificates(pem))


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _certificates(pem: bytes | None) -> list[x509.Certificate]:
    if pem is None:
        raise UnusableFilesError("the file with certificates cannot be read")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except Exception:  # noqa: BLE001 - its errors have no base of their own, and may quote the file
        raise UnusableFilesError("the file holds no certificates in PEM form") from None
    if len(certificates) != pem.count(b"-----BEGIN CERTIFICATE-----"):  # the parser drops a last half one
        raise UnusableFilesError("the last certificate in the file is cut short")
    return certificates


def load_key(pem: bytes | None) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """A private key of a kind that everybody can speak TLS with.

    Raises:
        UnusableFilesError: what is there is none.
    """
    if pem is None:
        raise UnusableFilesError("the key file cannot be read")
    try:
        key = load_pem_private_key(pem, None)
    except Exception:  # noqa: BLE001 - as above
        raise UnusableFilesError("the file holds no unencrypted private key in PEM form") from None
    match key:
        case rsa.RSAPrivateKey() if key.key_size >= 2048:
            return key
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1() | ec.SECP384R1()):
            return key
        case _:
            raise UnusableFilesError("the key is neither RSA of at least 2,048 bits nor P-256 or P-384")


def load_service_tls(contents: Contents) -> ServiceTls:
    """What is in the contents of the files: authorities, and perhaps certificates and key.

    Raises:
        UnusableFilesError: one of them cannot be used.
    """
    authorities, *pair = contents
    return ServiceTls(load_authorities(authorities), load_pair(tuple(pair)) if pair else None)


def read_file(path: Path) -> bytes | None:
    """What the file holds; None if it cannot be read. A pipe is not: it could be read only once."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None


class TlsFiles(Generic[Value]):
    """What these files held when they could last be used.

    Args:
        paths: the files.
        load: makes the value of their contents, in this order; raises UnusableFilesError.

    Attributes:
        value: what is in use.

    Raises:
        UnusableFilesError: they cannot be used now.
    """

    def __init__(self, paths: Iterable[Path], load: Callable[[Contents], Value]) -> None:
        self._paths = tuple(paths)
        self._load = load
        self._seen = self._judged = self._read()
        self.value = load(self._seen)

    def look(self) -> bool:
        """Whether there is a new value: the files have changed, and are the same as at the last look.

        So a pair that is written one file after the other is judged once, when both are there. To be called
        every `LOOK_SECONDS`; it may block, as files may be on a network.

        Raises:
            UnusableFilesError: there is a change that cannot be used. It is told once; the value stays.
        """
        before, self._seen = self._seen, self._read()
        if self._seen != before or self._seen == self._judged:
            return False
        self._judged = self._seen
        value = self._load(self._seen)
        if value == self.value:  # what was broken is as it had been
            return False
        self.value = value
        return True

    def _read(self) -> Contents:
        return tuple(read_file(path) for path in self._paths)


def look_silently(files: TlsFiles[Any]) -> None:
    """Looks where somebody else tells of changes."""
    with suppress(UnusableFilesError):
        files.look()


def look_regularly(*looks: Callable[[], object]) -> None:
    """Calls each of them every `LOOK_SECONDS`, in a thread that ends with the process."""

    def run() -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            for look in looks:
                look()

    if looks:
        threading.Thread(target=run, name="tls-files", daemon=True).start()


class PairInMemory:
    """A pair as a file that never touches a disk: for what wants a path, and never sees half of a change."""

    def __init__(self, pair: Pair) -> None:
        self._descriptor = os.memfd_create("tls")
        with os.fdopen(os.dup(self._descriptor), "wb") as file:
            file.write(pair.certificates + pair.key)
        self.path: Final = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        """Good until it is closed, for every process of this user."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forgets the file; whoever has it open may read on."""
        os.close(self._descriptor)
