"""What the tests of the identity provider share: rules, published keys, and a verifier with both."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jwt
import pytest

from service.auth.claims import TokenRules, parse_path
from service.auth.identity_provider import IdentityProvider, KeySet
from service.auth.jwks import parse_keys
from service.auth.principal import Tenant, TenantId
from service.auth.refusal_log import RefusalLog
from service.errors import CredentialRejected
from tests.service.auth.timers import Timers
from tests.support.identity_provider import (
    AUDIENCE,
    ISSUER,
    NOW,
    ec_key,
    ed25519_key,
    key_set,
    rsa_key,
)

RULES = TokenRules(
    issuer=ISSUER,
    audience=AUDIENCE,
    algorithms=("RS256", "ES256", "EdDSA"),
    leeway=30,
    tenant_claim=parse_path("tenant"),
    operator_claim=parse_path("realm.roles"),
    operator_value="rooms-operator",
)
KEYS = {"RSA": rsa_key("rsa"), "P-256": ec_key("p256"), "Ed25519": ed25519_key("ed")}
EC = KEYS["P-256"]
OF_ACME = Tenant(TenantId("acme"))


class PublishedKeys:
    """The provider's keys at hand; counts how often a key was looked for."""

    def __init__(self, document: bytes, algorithms: Sequence[str] = RULES.algorithms) -> None:
        self._keys = parse_keys(document, algorithms)
        self.searches = 0

    async def find(self, kid: str | None, algorithm: str, client: str | None) -> Sequence[jwt.PyJWK]:
        self.searches += 1
        return self._keys.find(kid, algorithm)


def provider(document: bytes | None = None, **rules: Any) -> IdentityProvider:
    changed = dataclasses.replace(RULES, **rules)
    keys = PublishedKeys(document or key_set(*KEYS.values()), changed.algorithms)
    return verifier_with(keys, changed)


def verifier_with(keys: KeySet, rules: TokenRules = RULES) -> IdentityProvider:
    return IdentityProvider(keys, rules, RefusalLog(Timers()), lambda: NOW)


async def refused(token: str, verifier: IdentityProvider | None = None) -> None:
    with pytest.raises(CredentialRejected):
        await (verifier or provider()).verify(token)
