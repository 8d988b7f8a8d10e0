"""Owns the signature under a delegated question: the operator's private key, and the JWT it makes.

Step before: `service.auth.auth_service` has a question. Step after: the question goes to the auth service.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from service.errors import JwtSigningFailed

PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey

SUBJECT: Final = "sayna-auth"
LIFETIME_SECONDS: Final = 300
_SMALLEST_RSA_BITS: Final = 2048


class Signer:
    """Signs questions with one private key: RS256 with an RSA key, ES256 with a P-256 key.

    Args:
        key: the private key.
        clock: Unix time in seconds.
    """

    def __init__(self, key: PrivateKey, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._algorithm = "RS256" if isinstance(key, RSAPrivateKey) else "ES256"
        self._clock = clock

    def sign(self, auth_data: Mapping[str, Any]) -> str:
        """The question as a JWT that existing auth services understand.

        Raises:
            JwtSigningFailed: the key could not sign it.
        """
        now = int(self._clock())
        claims = {"sub": SUBJECT, "iat": now, "exp": now + LIFETIME_SECONDS, "auth_data": dict(auth_data)}
        try:
            return jwt.encode(claims, self._key, algorithm=self._algorithm)
        except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise JwtSigningFailed(f"{self._algorithm}: {type(error).__name__}") from error


def read_signing_key(pem: bytes) -> PrivateKey:
    """The private key in this PEM text.

    Raises:
        ValueError: it is not an unencrypted RSA key of at least 2,048 bits or P-256 key.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("is not an unencrypted private key in PEM form") from None
    match key:
        case RSAPrivateKey() if key.key_size >= _SMALLEST_RSA_BITS:
            return key
        case EllipticCurvePrivateKey() if isinstance(key.curve, SECP256R1):
            return key
        case _:
            raise ValueError("is neither an RSA key of at least 2,048 bits nor a P-256 key")
