"""Owns API secrets: which caller a presented secret stands for, found in constant time.

Step before: `service.authentication` has a token. Step after: the principal goes to `service.servicer`.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from service.auth.generated_secrets import DIGEST_PREFIX, is_digest, is_generated
from service.auth.principal import Operator, Principal, Tenant, TenantId


@dataclass(frozen=True, slots=True)
class ApiSecret:
    """One secret and whose it is.

    Attributes:
        secret: as it was configured: itself, or the digest of a generated one, `sha256:…`.
    """

    id: str
    secret: str = field(repr=False)
    role: Literal["tenant", "operator"] = "tenant"

    @property
    def principal(self) -> Principal:
        """The caller that this secret stands for."""
        return Operator(self.id) if self.role == "operator" else Tenant(TenantId(self.id))

    @property
    def fingerprint(self) -> bytes:
        """Equal for two entries exactly when one token matches both."""
        if is_digest(self.secret):
            return _GENERATED + bytes.fromhex(self.secret.removeprefix(DIGEST_PREFIX))
        return _fingerprint(self.secret)


class ApiSecrets:
    """Finds the principal of a presented secret by its keyed digest.

    The digest is HMAC-SHA-256 under a random key of this process, so a look-up costs the same for any
    number of secrets and its timing says nothing about how near a guess came: nothing is compared as
    text, and a guesser cannot choose the digest's bytes.

    An entry that is itself a digest is matched only by tokens of the form of generated secrets: not by its
    own text, and not by a text that a person chose.
    """

    def __init__(self, api_secrets: Iterable[ApiSecret]) -> None:
        self._key = secrets.token_bytes(32)
        self._principals = {self._digest(entry.fingerprint): entry.principal for entry in api_secrets}

    async def verify(self, token: str, client: str | None = None) -> Principal | None:
        """Whose secret this is, or None when it is nobody's; see `service.auth.authenticator.Verifier`."""
        return self._principals.get(self._digest(_fingerprint(token)))

    def _digest(self, fingerprint: bytes) -> bytes:
        return hmac.digest(self._key, fingerprint, "sha256")


# What is in front of the SHA-256 keeps the two kinds of secrets apart, whatever a token says.
_GENERATED, _CHOSEN = b"g", b"c"


def _fingerprint(token: str) -> bytes:
    kind = _GENERATED if is_generated(token) else _CHOSEN
    return kind + hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
