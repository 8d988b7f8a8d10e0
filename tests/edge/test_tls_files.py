"""The files of TLS: which can be used, when a change is taken up, and when what was there stays."""

import datetime as dt
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from edge.tls_files import (
    Pair,
    PairInMemory,
    ServiceTls,
    TlsFiles,
    UnusableFilesError,
    load_authorities,
    load_pair,
    load_service_tls,
    read_file,
)
from tests.support.certificate_authority import DAY, Authority
from tests.support.certificates import Certificate


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def contents(files: Certificate) -> tuple[bytes, bytes]:
    return files.certificate.read_bytes(), files.key.read_bytes()


def problem(load: Callable[[], object]) -> str:
    with pytest.raises(UnusableFilesError) as refused:
        load()
    return str(refused.value)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "RSA"],
)
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_pair_is_given_in_one_form_without_what_stands_beside_it(
    authority: Authority, key: Any, form: PrivateFormat
) -> None:
    certificate, _ = contents(authority.issue("own", key=key))
    written = key.private_bytes(Encoding.PEM, form, NoEncryption())
    pair = load_pair((b"a comment\n" + certificate + authority.pem + written, b"another\n" + written))
    assert pair.certificates == certificate + authority.pem
    assert pair.key == key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("key", "told"),
    [
        (rsa.generate_private_key(65537, 1024), "a key that is neither"),  # noqa: S505 - that is the point
        (ec.generate_private_key(ec.SECP521R1()), "a key that is neither"),
        (ed25519.Ed25519PrivateKey.generate(), "a key that is neither"),
        (ec.generate_private_key(ec.SECP256R1()), "do not belong together"),
    ],
    ids=["RSA of 1,024 bits", "P-521", "Ed25519", "another's"],
)
def test_a_key_of_another_kind_or_of_another_certificate_is_refused(
    authority: Authority, key: Any, told: str
) -> None:
    certificate, _ = contents(authority.issue("own"))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert told in problem(lambda: load_pair((certificate, pem)))


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate, _ = contents(authority.issue("own", key=key))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    assert "unencrypted" in problem(lambda: load_pair((certificate, pem)))


@pytest.mark.parametrize(
    ("begins", "ends", "told"),
    [
        (None, dt.datetime.now(dt.UTC) - DAY, "the certificate ended on"),
        (dt.datetime.now(dt.UTC) + DAY, dt.datetime.now(dt.UTC) + 2 * DAY, "the certificate begins on"),
    ],
)
def test_a_certificate_that_is_not_valid_today_is_refused(
    authority: Authority, begins: dt.datetime | None, ends: dt.datetime, told: str
) -> None:
    files = authority.issue("own", begins=begins, ends=ends)
    assert told in problem(lambda: load_pair(contents(files)))


def test_a_certificate_of_an_old_version_is_refused() -> None:  # the listener's TLS library cannot read it
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old" * 20)])
    now = dt.datetime.now(dt.UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now - DAY, now + DAY)
    pem = built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert x509.load_pem_x509_certificate(pem).version is x509.Version.v3
    # The version is a field of its own, that version 1 leaves out; the signature is not looked at here.
    v1 = ssl.DER_cert_to_PEM_cert(_without_version(der)).encode()
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert "version 3" in problem(lambda: load_pair((v1, key_pem)))


def _without_version(der: bytes) -> bytes:
    """The certificate less its five bytes of version; both lengths before it take two bytes."""
    version = bytes.fromhex("a003020102")
    start = der.index(version)
    inner_length, outer_length = start - 2, 2
    return b"".join(
        [
            der[:outer_length],
            (int.from_bytes(der[outer_length : outer_length + 2]) - 5).to_bytes(2),
            der[outer_length + 2 : inner_length],
            (int.from_bytes(der[inner_length:start]) - 5).to_bytes(2),
            der[start + 5 :],
        ]
    )


BROKEN: dict[str, Callable[[bytes], bytes | None]] = {
    "absent": lambda _: None,
    "empty": lambda _: b"",
    "text": lambda _: b"no PEM",
    "DER": lambda _: b"\x30\x82\x01\x0a\x02",
    "cut short": lambda pem: pem[: len(pem) // 2],
    "the second one cut short": lambda pem: pem + pem[: len(pem) // 2],
}


@pytest.mark.parametrize("written", BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_not_wholly_what_it_should_be_is_refused_without_quoting_it(
    authority: Authority, written: Callable[[bytes], bytes | None]
) -> None:
    certificate, key = contents(authority.issue("own"))
    told = [
        problem(lambda: load_pair((written(certificate), key))),
        problem(lambda: load_authorities(written(certificate))),
    ]
    if written is not BROKEN["the second one cut short"]:  # of keys the first one counts
        told.append(problem(lambda: load_pair((certificate, written(key)))))
    assert not any("PEM text" in each or "-----" in each for each in told)


def test_the_service_s_files_may_be_without_a_pair(authority: Authority) -> None:
    files = authority.issue("edge")
    pair = load_pair(contents(files))
    assert load_service_tls((authority.pem,)) == ServiceTls(authority.pem, None)
    assert load_service_tls((authority.pem, *contents(files))) == ServiceTls(authority.pem, pair)


def test_a_key_is_in_no_repr(authority: Authority) -> None:
    tls = load_service_tls((authority.pem, *contents(authority.issue("edge"))))
    assert "PRIVATE" not in repr(tls)


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for a writer, for ever
    assert read_file(tmp_path / "pipe") is None


class Texts:
    """Two files and what is made of them: their texts, unless one is `broken`."""

    def __init__(self, folder: Path) -> None:
        self.paths = (folder / "one", folder / "two")
        self.write("1", "2")
        self.files = TlsFiles(self.paths, self._load)

    def write(self, *texts: str) -> None:
        for path, text in zip(self.paths, texts, strict=False):
            path.write_text(text)

    def _load(self, read: tuple[bytes | None, ...]) -> tuple[bytes | None, ...]:
        if b"broken" in read:
            raise UnusableFilesError("broken")
        return read


@pytest.fixture
def texts(tmp_path: Path) -> Texts:
    return Texts(tmp_path)


def test_without_a_change_there_is_nothing_new(texts: Texts) -> None:
    assert [texts.files.look() for _ in range(3)] == [False] * 3


def test_a_change_is_taken_up_once_when_it_is_the_same_at_the_next_look(texts: Texts) -> None:
    texts.write("3")
    assert [texts.files.look() for _ in range(4)] == [False, True, False, False]
    assert texts.files.value == (b"3", b"2")


def test_files_that_are_written_one_after_the_other_are_judged_together(texts: Texts) -> None:
    texts.write("broken")
    assert texts.files.look() is False
    texts.write("3", "4")
    assert [texts.files.look() for _ in range(3)] == [False, True, False]
    assert texts.files.value == (b"3", b"4")


def test_what_is_broken_is_told_once_and_what_was_there_stays_until_it_is_mended(texts: Texts) -> None:
    texts.write("broken")
    assert texts.files.look() is False
    assert problem(texts.files.look) == "broken"
    assert [texts.files.look() for _ in range(3)] == [False] * 3
    assert texts.files.value == (b"1", b"2")
    texts.write("3")
    assert [texts.files.look() for _ in range(2)] == [False, True]


def test_what_is_mended_by_putting_the_old_back_is_nothing_new(texts: Texts) -> None:
    texts.write("broken")
    texts.files.look()
    problem(texts.files.look)
    texts.write("1")
    assert [texts.files.look() for _ in range(3)] == [False] * 3


def test_a_pair_in_memory_is_a_file_until_it_is_closed() -> None:
    with PairInMemory(Pair(b"certificates", b"key")) as file:
        assert Path(file.path).read_bytes() == b"certificateskey"
    assert not Path(file.path).exists()
