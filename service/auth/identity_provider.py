"""Owns JWTs of the operator's identity provider: whether one is good, and who its claims say is calling.

Step before: `service.auth.authenticator`, for a token that is no API secret. Step after: the principal goes
to `service.servicer`. On the way `service.auth.key_set` has the provider's keys.

PyJWT and cryptography verify signatures. Which key that takes is decided here, from the provider's own key
set; keys and addresses of keys that a token brings along (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Protocol

import jwt

from service.auth.claims import Claims, TokenRules, claim_at, number_at, parse_claims, unverified_issuer
from service.auth.principal import Operator, Principal, Tenant, TenantId, is_tenant_id
from service.auth.refusal_log import RefusalLog
from service.errors import CredentialRejected


class KeySet(Protocol):
    """The provider's keys."""

    async def find(self, kid: str | None, algorithm: str, client: str | None) -> Sequence[jwt.PyJWK]:
        """Those that fit this algorithm and, if one is named, this key id.

        Raises:
            AuthServiceUnavailable: the keys are not known, or too old, and cannot be had now.
            ClientNeeded, Overloaded: they have to be waited for, and the client is None, or may not.
        """
        ...


class IdentityProvider:
    """Decides about the tokens that name the provider as their issuer, and about no others.

    Args:
        keys: the provider's.
        rules: what a token must say.
        refusals: is told why a token was refused.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        keys: KeySet,
        rules: TokenRules,
        refusals: RefusalLog,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._refusals = refusals
        self._clock = clock
        self._signatures = jwt.PyJWS(rules.algorithms)

    async def verify(self, token: str, client: str | None = "") -> Principal | None:
        """Who this token stands for, or None when it is not a JWT or its issuer is another.

        An operator goes by the token's `sub`, in the audit log too, and needs no tenant claim.

        Args:
            token: as it came.
            client: from where; None where that is not known yet.

        Raises:
            CredentialRejected: the token names our provider, and is not good.
            AuthServiceUnavailable: the provider's keys are not known, or too old, and cannot be had now.
            ClientNeeded, Overloaded: its key has to be waited for, and the client is None, or may not.
        """
        if not token.isascii() or unverified_issuer(token) != self._rules.issuer:
            return None
        try:
            return await self._decide(token, client)
        except CredentialRejected as refusal:
            self._refusals.refused(str(refusal))
            raise

    async def _decide(self, token: str, client: str | None) -> Principal:
        try:
            claims = parse_claims(await self._verified_payload(token, client))
            self._check(claims)
        except jwt.PyJWTError as error:  # its text may hold pieces of the token
            raise CredentialRejected(type(error).__name__) from None
        except (ValueError, RecursionError) as error:
            raise CredentialRejected(str(error)) from None
        return self._principal_in(claims)

    async def _verified_payload(self, token: str, client: str | None) -> bytes:
        header = self._signatures.get_unverified_header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._rules.algorithms:
            _reject("its algorithm is not allowed")
        if "crit" in header:  # RFC 7515: what it names must be understood, and nothing is here
            _reject("it has a critical header")
        keys = await self._keys.find(header.get("kid"), algorithm, client)
        if len(keys) != 1:
            _reject(f"{len(keys)} keys fit it")
        payload: bytes = self._signatures.decode(token, keys[0], [algorithm])
        return payload

    def _check(self, claims: Claims) -> None:
        rules, now = self._rules, self._clock()
        audience: Any = claims.get("aud")
        if claims.get("iss") != rules.issuer:
            _reject("its issuer is another")
        if rules.audience not in (audience if isinstance(audience, list) else [audience]):
            _reject("it is meant for another audience")
        expires = number_at(claims, "exp")
        if expires is None or expires <= now - rules.leeway:
            _reject("it has expired, or never does")
        for name in ("nbf", "iat"):
            if (number_at(claims, name) or 0) > now + rules.leeway:
                _reject(f"it is not valid yet ({name})")

    def _principal_in(self, claims: Claims) -> Principal:
        rules = self._rules
        if rules.operator_claim is not None:
            value = claim_at(claims, rules.operator_claim)
            if rules.operator_value in (value if isinstance(value, list) else [value]):
                return Operator(_id(claims.get("sub"), "subject"))
        tenant = claim_at(claims, rules.tenant_claim) if rules.tenant_claim is not None else None
        return Tenant(TenantId(_id(tenant, "tenant claim")))


def _id(value: Any, name: str) -> str:
    """A claim that must be an id: not blank, not padded, valid Unicode, not absurdly long."""
    if not isinstance(value, str) or not is_tenant_id(value):
        _reject(f"its {name} is missing or not usable as an id")
    return value


def _reject(why: str) -> NoReturn:
    raise CredentialRejected(why)
