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
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from common.pem import (
    UnusablePemError,
    certificates_in,
    certificates_pem,
    key_in,
    key_pem,
    life_problems,
)

LOOK_SECONDS: Final = 0.5
"""How long to wait between two looks at watched files."""

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
    certificate_file, key_file = contents
    certificates = load_certificates(certificate_file)
    key = load_key(key_file)
    # In one form each, as not every TLS library reads all of them, and without what else is in the files.
    pair = Pair(certificates_pem(certificates), key_pem(key))
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
    for problem in life_problems(first.not_valid_before_utc, first.not_valid_after_utc, now):
        raise UnusableFilesError(f"the certificate {problem}")
    return certificates


def load_authorities(pem: bytes | None) -> bytes:
    """The certificates of authorities, in PEM.

    Raises:
        UnusableFilesError: there are none.
    """
    return certificates_pem(_certificates(pem))


def _certificates(pem: bytes | None) -> list[x509.Certificate]:
    if pem is None:
        raise UnusableFilesError("the file with certificates cannot be read")
    try:
        return certificates_in(pem)
    except UnusablePemError as error:
        raise UnusableFilesError(f"the file {error}") from None


def load_key(pem: bytes | None) -> RSAPrivateKey | EllipticCurvePrivateKey:
    """A private key of a kind that everybody can speak TLS with.

    Raises:
        UnusableFilesError: what is there is none.
    """
    if pem is None:
        raise UnusableFilesError("the key file cannot be read")
    try:
        return key_in(pem)
    except UnusablePemError as error:
        raise UnusableFilesError(f"the file {error}") from None


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
