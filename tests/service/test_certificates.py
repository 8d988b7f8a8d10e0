"""Certificates and keys in PEM form: which are usable for TLS, and why others are not."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from common.pem import CLOCKS_MAY_DIFFER
from service.certificates import read_certificates, read_tls_key
from tests.support.auth_service import pem as pem_of
from tests.support.certificate_authority import DAY, Authority

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_certificates_are_read_in_their_order_and_without_what_stands_beside_them(
    authority: Authority,
) -> None:
    own = authority.issue("own")
    pem, key = own.certificate.read_bytes(), own.key.read_bytes()
    read = read_certificates("# a café\n".encode() + pem + b"\n" + key + b"\r\ntext\n" + authority.pem)
    assert read.pem == pem + authority.pem
    assert len(read.lives) == 2
    assert read.public == read_tls_key(key).public


BEGIN = b"-----BEGIN CERTIFICATE-----\n"
BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "text": lambda _: b"no certificate",
    "base64 of something else": lambda _: BEGIN + b"AAAA\n-----END CERTIFICATE-----\n",
    "bad base64": lambda pem: pem.replace(b"M", b"?", 1),
    "cut short": lambda pem: pem[: len(pem) // 2],
    "the second one cut short": lambda pem: pem + pem[: len(pem) // 2],
    "nothing of the second one but its first line": lambda pem: pem + BEGIN,
    "DER": lambda _: b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00",
}


@pytest.mark.parametrize("written", BROKEN.values(), ids=BROKEN)
def test_what_is_not_wholly_certificates_is_refused(
    authority: Authority, written: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(ValueError, match=r"^names a file that (holds no|ends in a) certificate"):
        read_certificates(written(authority.pem))


KEYS: dict[str, tuple[Any, bool]] = {
    "P-256": (ec.generate_private_key(ec.SECP256R1()), True),
    "P-384": (ec.generate_private_key(ec.SECP384R1()), True),
    "RSA of 2,048 bits": (rsa.generate_private_key(65537, 2048), True),
    "RSA of 1,024 bits": (rsa.generate_private_key(65537, 1024), False),  # noqa: S505 (that is the point),
    "P-521": (ec.generate_private_key(ec.SECP521R1()), False),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), False),
}


@pytest.mark.parametrize(("key", "usable"), KEYS.values(), ids=KEYS)
def test_only_keys_that_every_grpc_client_accepts_are_usable(key: Any, usable: bool) -> None:
    if usable:
        assert read_tls_key(pem_of(key)).pem == pem_of(key)
    else:
        with pytest.raises(ValueError, match="neither RSA of at least 2,048 bits nor EC"):
            read_tls_key(pem_of(key))


def encrypted(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))


@pytest.mark.parametrize("text", [b"", b"no key", encrypted(KEYS["P-256"][0]), pem_of(KEYS["P-256"][0])[:90]])
def test_what_is_not_a_plain_key_is_refused_without_a_word_of_it(text: bytes) -> None:
    with pytest.raises(ValueError, match="holds no unencrypted private key") as refusal:
        read_tls_key(text)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_a_key_does_not_show_itself() -> None:
    key = read_tls_key(pem_of(KEYS["P-256"][0]))
    assert b"PRIVATE KEY" in key.pem
    assert key.pem.splitlines()[1].decode() not in repr(key)
    assert "PRIVATE" not in repr(key)


ENDED, NOT_BEGUN = {"ends": NOW - DAY}, {"begins": NOW + CLOCKS_MAY_DIFFER * 2, "ends": NOW + DAY}
JUST_MADE = {"begins": NOW + CLOCKS_MAY_DIFFER / 2}


@pytest.mark.parametrize(
    ("life", "problems"),
    [
        ({}, []),
        (JUST_MADE, []),
        (ENDED, [f"names a certificate that ended on {NOW - DAY:%Y-%m-%d}"]),
        (NOT_BEGUN, [f"names a certificate that begins on {NOT_BEGUN['begins']:%Y-%m-%d}"]),
    ],
)
def test_a_servers_own_certificate_must_be_valid_now(
    authority: Authority, life: dict[str, Any], problems: list[str]
) -> None:
    own = read_certificates(authority.issue("own", **life).certificate.read_bytes() + authority.pem)
    assert list(own.chain_problems(NOW)) == problems


def test_one_authority_that_is_valid_now_is_enough(tmp_path: Path, authority: Authority) -> None:
    ended = Authority(tmp_path, "ended", ends=NOW - DAY)
    assert list(read_certificates(ended.pem + authority.pem).trust_problems(NOW)) == []
    assert list(read_certificates(ended.pem * 2).trust_problems(NOW)) == [
        "names a file in which no certificate is valid today"
    ]
