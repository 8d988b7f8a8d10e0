"""Owns API secrets: which caller a presented secret stands for, found in constant time.

Step before: `service.authentication` has a token. Step after: the principal goes to `service.servicer`.
"""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from service.auth.principal import Operator, Principal, Tenant, TenantId


@dataclass(frozen=True, slots=True)
class ApiSecret:
    """One secret and whose it is."""

    id: str
    secret: str = field(repr=False)
    role: Literal["tenant", "operator"] = "tenant"

    @property
    def principal(self) -> Principal:
        """The caller that this secret stands for."""
        return Operator(self.id) if self.role == "operator" else Tenant(TenantId(self.id))


class ApiSecrets:
    """Finds the principal of a presented secret by its keyed digest.

    The digest is HMAC-SHA-256 under a random key of this process, so a look-up costs the same for any
    number of secrets and its timing says nothing about how near a guess came: nothing is compared as
    text, and a guesser cannot choose the digest's bytes.
    """

    def __init__(self, api_secrets: Iterable[ApiSecret]) -> None:
        self._key = secrets.token_bytes(32)
        self._principals = {self._digest(entry.secret): entry.principal for entry in api_secrets}

    async def verify(self, token: str) -> Principal | None:
        """Whose secret this is, or None when it is nobody's; see `service.authentication.Verifier`."""
        return self._principals.get(self._digest(token))

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._key, secret.encode(), "sha256")
