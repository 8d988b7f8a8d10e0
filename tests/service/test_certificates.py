"""The service's certificates and keys: what is read of them, and when they can be used."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

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


@pytest.mark.parametrize("text", ["", "canary", "-----BEGIN CERTIFICATE-----"])
def test_a_file_that_cannot_be_used_is_refused_without_a_word_of_it(text: str) -> None:
    for read in (read_certificates, read_tls_key):
        with pytest.raises(ValueError, match=r"^names a file that holds no [a-z ]+ in PEM form$") as refusal:
            read(text.encode())
        assert refusal.value.__suppress_context__


def test_a_key_does_not_show_itself() -> None:
    key = read_tls_key(pem_of(ec.generate_private_key(ec.SECP256R1())))
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
