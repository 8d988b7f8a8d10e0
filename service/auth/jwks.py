"""Owns what a key set (RFC 7517) holds: which of its keys may verify a token, under which algorithm.

Step before: `service.auth.key_set` has fetched a document, or `service.settings.oidc` has read one. Step
after: `service.auth.identity_provider` verifies a token with the one key that fits it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512"),
    "EdDSA",
)
"""All that may be allowed. Each has a public and a private key, so that a public one can forge nothing."""

MAX_BYTES: Final = 256 * 1024
MOST_KEYS: Final = 100
SMALLEST_RSA_BITS: Final = 2048
LARGEST_RSA_BITS: Final = 8192  # a larger one would make every verification slow


class KeySetUnusable(ValueError):
    """A document that holds no key set, or a key set without a usable key."""


class Keys:
    """The usable keys of one key set."""

    def __init__(self, keys: Mapping[str, Sequence[jwt.PyJWK]]) -> None:
        self._keys = keys

    def find(self, kid: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        """The keys that fit this algorithm and have this id; any id, if the token names none."""
        fitting = self._keys.get(algorithm, ())
        return [key for key in fitting if kid is None or key.key_id == kid]


def parse_keys(document: bytes, algorithms: Iterable[str]) -> Keys:
    """The keys in this JSON document that can verify by at least one of these algorithms.

    Keys of other kinds are passed over, as RFC 7517 wants it: those for encryption, secret and private ones,
    and what this version cannot read. A key counts for each algorithm that fits it, or for its `alg` alone.

    Raises:
        KeySetUnusable: see there.
    """
    try:
        members = json.loads(document.decode("utf-8-sig"))["keys"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise KeySetUnusable('is not a JSON object with the member "keys"') from None
    if not isinstance(members, list) or len(members) > MOST_KEYS:
        raise KeySetUnusable(f'has "keys" that are not a list of at most {MOST_KEYS} keys')
    candidates = [member for member in members if isinstance(member, dict) and _may_verify(member)]
    keys = {
        algorithm: [key for member in candidates if (key := _key(member, algorithm)) is not None]
        for algorithm in algorithms
    }
    if not any(keys.values()):
        raise KeySetUnusable("has no key that can verify a token by an allowed algorithm")
    return Keys(keys)


def read_file(path: Path) -> bytes:
    """A key set's document.

    Raises:
        OSError: the file cannot be read.
        KeySetUnusable: it is over the size limit.
    """
    with path.open("rb") as file:
        document = file.read(MAX_BYTES + 1)
    if len(document) > MAX_BYTES:
        raise KeySetUnusable(f"is over {MAX_BYTES} bytes")
    return document


def _may_verify(member: Mapping[str, Any]) -> bool:
    """Whether its owner meant this key for verifying, and gave its public half only."""
    operations = member.get("key_ops", ["verify"])
    return (
        member.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in member
    )


def _key(member: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    if member.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(member, algorithm)
        prepared = key.Algorithm.prepare_key(key.key)  # refuses the curve of another algorithm
    except (jwt.PyJWTError, UnsupportedAlgorithm):
        return None
    if isinstance(prepared, RSAPublicKey) and not SMALLEST_RSA_BITS <= prepared.key_size <= LARGEST_RSA_BITS:
        return None
    return key
