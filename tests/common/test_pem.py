"""Certificates and keys in PEM form: which are usable for TLS, and why others are not."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from common.pem import (
    CLOCKS_MAY_DIFFER,
    UnusablePemError,
    certificates_in,
    certificates_pem,
    key_in,
    key_pem,
    life_problems,
)
from tests.support.auth_service import pem as pem_of
from tests.support.certificate_authority import DAY, Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_certificates_are_read_in_their_order_and_without_what_stands_beside_them(
    authority: Authority,
) -> None:
    own = authority.issue("own")
    pem, key = own.certificate.read_bytes(), own.key.read_bytes()
    read = certificates_in("# a café\n".encode() + pem + b"\n" + key + b"\r\ntext\n" + authority.pem)
    assert certificates_pem(read) == pem + authority.pem


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
    with pytest.raises(UnusablePemError, match=r"^(holds no|ends in a) certificate"):
        certificates_in(written(authority.pem))


KEYS: dict[str, tuple[Any, bool]] = {
    "P-256": (ec.generate_private_key(ec.SECP256R1()), True),
    "P-384": (ec.generate_private_key(ec.SECP384R1()), True),
    "RSA of 2,048 bits": (rsa.generate_private_key(65537, 2048), True),
    "RSA of 1,024 bits": (rsa.generate_private_key(65537, 1024), False),  # noqa: S505 (that is the point),
    "P-521": (ec.generate_private_key(ec.SECP521R1()), False),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), False),
}


@pytest.mark.parametrize(("key", "usable"), KEYS.values(), ids=KEYS)
def test_only_keys_that_everybody_can_speak_tls_with_are_usable(key: Any, usable: bool) -> None:
    if usable:
        assert key_pem(key_in(pem_of(key))) == pem_of(key)
    else:
        with pytest.raises(UnusablePemError, match="neither RSA of at least 2,048 bits nor EC"):
            key_in(pem_of(key))


def encrypted(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))


@pytest.mark.parametrize("text", [b"", b"no key", encrypted(KEYS["P-256"][0]), pem_of(KEYS["P-256"][0])[:90]])
def test_what_is_not_a_plain_key_is_refused_without_a_word_of_it(text: bytes) -> None:
    with pytest.raises(UnusablePemError, match="holds no unencrypted private key") as refusal:
        key_in(text)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


NOW = dt.datetime.now(dt.UTC)


@pytest.mark.parametrize(
    ("begins", "ends", "problems"),
    [
        (NOW - DAY, NOW + DAY, []),
        (NOW + CLOCKS_MAY_DIFFER / 2, NOW + DAY, []),
        (NOW - 2 * DAY, NOW - DAY, [f"ended on {NOW - DAY:%Y-%m-%d}"]),
        (NOW + DAY, NOW + 2 * DAY, [f"begins on {NOW + DAY:%Y-%m-%d}"]),
    ],
)
def test_a_life_is_over_or_has_not_begun(begins: dt.datetime, ends: dt.datetime, problems: list[str]) -> None:
    assert list(life_problems(begins, ends, NOW)) == problems
