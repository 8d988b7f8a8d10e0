"""Which keys sign, and what they sign."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from service.auth.signing import Signer, read_signing_key
from tests.support.auth_service import p256_key, pem, rsa_key


@pytest.mark.parametrize("key", [rsa_key(), rsa_key(3072), p256_key()])
def test_rsa_and_p256_keys_are_read_from_pem(key: object) -> None:
    assert pem(read_signing_key(pem(key))) == pem(key)


def test_a_traditional_rsa_pem_is_read_too() -> None:
    key = rsa_key()

    text = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert pem(read_signing_key(text)) == pem(key)


UNUSABLE = {
    "empty": b"",
    "no key": b"hello",
    "short rsa": pem(rsa_key(1024)),
    "another curve": pem(generate_private_key(SECP384R1())),
    "ed25519": pem(Ed25519PrivateKey.generate()),
    "encrypted": p256_key().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    ),
    "public": p256_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "cut short": pem(rsa_key())[:200],
}


@pytest.mark.parametrize("text", UNUSABLE.values(), ids=UNUSABLE)
def test_any_other_file_is_refused_without_a_word_of_it(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^is n") as failure:
        read_signing_key(text)
    assert "BEGIN" not in str(failure.value)


def test_the_claims_are_dated_by_the_clock() -> None:
    key = p256_key()
    token = Signer(key, clock=lambda: 1_700_000_000.9).sign({"token": "t"})
    claims = jwt.decode(token, key.public_key(), algorithms=["ES256"], options={"verify_exp": False})
    assert claims == {
        "sub": "sayna-auth",
        "iat": 1_700_000_000,
        "exp": 1_700_000_300,
        "auth_data": {"token": "t"},
    }
