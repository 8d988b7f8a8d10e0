"""JWTs of the identity provider: whom a good one stands for, and which ones are somebody else's."""

import json
from collections.abc import Sequence
from typing import Any

import jwt
import pytest

from service.auth.claims import parse_path
from service.auth.jwks import ALGORITHMS
from service.auth.principal import Operator, Tenant, TenantId
from service.errors import AuthServiceUnavailable
from tests.service.auth.oidc import EC, KEYS, OF_ACME, PublishedKeys, provider, refused, verifier_with
from tests.support.identity_provider import (
    AUDIENCE,
    ISSUER,
    NOW,
    SigningKey,
    compact,
    ec_key,
    good_claims,
    key_set,
    rsa_key,
)

OPERATOR = {"roles": ["viewer", "rooms-operator"]}


# --- good ones ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
async def test_a_good_token_stands_for_its_tenant(key: SigningKey) -> None:
    assert await provider().verify(key.token()) == OF_ACME


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_each_algorithm_verifies_by_a_key_that_names_none(algorithm: str) -> None:
    if algorithm.startswith("ES"):
        key = ec_key(f"of {algorithm}", algorithm)
    else:
        key = KEYS["Ed25519" if algorithm == "EdDSA" else "RSA"]
    verifier = provider(key_set(key.jwk(alg=None, use=None)), algorithms=ALGORITHMS)
    payload = json.dumps(good_claims()).encode()
    assert await verifier.verify(key.sign(payload, algorithm)) == OF_ACME


GOOD = {
    "several audiences": good_claims(aud=["other", AUDIENCE]),
    "times with fractions": good_claims(exp=NOW + 0.5, iat=NOW - 0.5, nbf=NOW - 0.25),
    "expired within the leeway": good_claims(exp=NOW - 29),
    "not valid yet within the leeway": good_claims(nbf=NOW + 30, iat=NOW + 30),
    "no iat": good_claims(iat=None),
    "an expiry beyond any float": good_claims(exp=10**400),
    "claims that nobody knows": good_claims(extra={"deep": [1, None, {"a": "b"}]}),
    "another's role": good_claims(realm={"roles": ["viewer"]}),
}


@pytest.mark.parametrize("claims", GOOD.values(), ids=GOOD)
async def test_what_a_good_token_may_say(claims: dict[str, Any]) -> None:
    assert await provider().verify(EC.sign(json.dumps(claims).encode())) == OF_ACME


async def test_a_token_without_a_key_id_is_good_when_one_key_fits() -> None:
    assert await provider().verify(EC.token({"kid": None})) == OF_ACME


async def test_two_kinds_of_key_may_share_an_id() -> None:
    rsa, ec = rsa_key("rsa"), ec_key("p256")
    verifier = provider(key_set(rsa.jwk(kid="same"), ec.jwk(kid="same")))
    for key in (rsa, ec):
        assert await verifier.verify(key.token({"kid": "same"})) == OF_ACME


PATHS: list[tuple[str, dict[str, Any]]] = [
    ("org.tenant", {"org": {"tenant": "acme"}}),
    ("a.b.c", {"a": {"b": {"c": "acme"}}}),
    (r"https://example\.com/tenant", {"https://example.com/tenant": "acme"}),
    (r"a\.b.c", {"a.b": {"c": "acme"}, "a": {"b": {"c": "globex"}}}),
]


@pytest.mark.parametrize(("path", "claims"), PATHS)
async def test_the_tenant_stands_at_the_end_of_the_path(path: str, claims: dict[str, Any]) -> None:
    verifier = provider(tenant_claim=parse_path(path))
    assert await verifier.verify(EC.token(tenant="globex", **claims)) == OF_ACME


@pytest.mark.parametrize("tenant", ["caf\u00e9", "a b", "\U0001f600", "*", "null"])
async def test_a_tenant_id_is_taken_as_it_is(tenant: str) -> None:
    assert await provider().verify(EC.token(tenant=tenant)) == Tenant(TenantId(tenant))


# --- operators ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["rooms-operator", ["rooms-operator"], ["viewer", "rooms-operator", 5]])
@pytest.mark.parametrize("tenant", [None, "acme", "", 5])
async def test_the_operator_claim_makes_an_operator_by_its_subject(value: Any, tenant: Any) -> None:
    token = EC.token(realm={"roles": value}, tenant=tenant)
    assert await provider().verify(token) == Operator("user-1")


NO_OPERATOR: list[Any] = [
    None,
    {"roles": None},
    {"roles": "viewer rooms-operator"},
    {"roles": "Rooms-Operator"},
    {"roles": "rooms-operator "},
    {"roles": ["rooms-operators"]},
    {"roles": [["rooms-operator"]]},
    {"roles": {"rooms-operator": True}},
    {"roles": True},
    ["roles", "rooms-operator"],
    "roles",
]


@pytest.mark.parametrize("realm", NO_OPERATOR)
async def test_nothing_but_the_exact_value_makes_an_operator(realm: Any) -> None:
    assert await provider().verify(EC.token(realm=realm)) == OF_ACME


async def test_without_an_operator_claim_in_the_rules_nobody_is_an_operator() -> None:
    verifier = provider(operator_claim=None, operator_value=None)
    assert await verifier.verify(EC.token(realm=OPERATOR)) == OF_ACME
    await refused(EC.token(realm=OPERATOR, tenant=None), verifier)


@pytest.mark.parametrize("subject", [None, "", " ", 5, ["user-1"], "\ud800", "x" * 1025])
async def test_an_operator_without_a_usable_subject_is_refused(subject: Any) -> None:
    await refused(EC.token(realm=OPERATOR, sub=subject))


async def test_without_a_tenant_claim_in_the_rules_there_are_operators_only() -> None:
    verifier = provider(tenant_claim=None)
    assert await verifier.verify(EC.token(realm=OPERATOR)) == Operator("user-1")
    await refused(EC.token(), verifier)


# --- not ours -----------------------------------------------------------------------------------------------

FOREIGN = {
    "empty": "",
    "an API secret": "s3cret",
    "dots alone": "..",
    "a secret with dots": "a.b.c",
    "letters outside ASCII": EC.token() + "\u00e9",
    "another issuer": EC.token(iss="https://login.example.com/realms/globex"),
    "the issuer with a slash more": EC.token(iss=ISSUER + "/"),
    "the issuer in upper case": EC.token(iss=ISSUER.upper()),
    "no issuer": EC.token(iss=None),
    "a list with the issuer": EC.token(iss=[ISSUER]),
    "a number for issuer": EC.token(iss=5),
    "claims that are a list": compact({"alg": "ES256"}, json.dumps([ISSUER]).encode(), b"s"),
    "claims that are no JSON": compact({"alg": "ES256"}, b'{"iss":', b"s"),
    "claims that are not UTF-8": compact({"alg": "ES256"}, json.dumps(good_claims()).encode("utf-16"), b"s"),
    "claims with a letter that base64url has not": EC.token().replace(".", ".!", 1),
    "an encrypted token": compact(
        {"alg": "RSA-OAEP", "enc": "A256GCM", "iss": ISSUER}, b"k", b"i", b"c", b"t"
    ),
}


@pytest.mark.parametrize("token", FOREIGN.values(), ids=FOREIGN)
async def test_what_does_not_name_our_issuer_is_left_to_others_and_no_key_is_looked_for(token: str) -> None:
    keys = PublishedKeys(key_set(EC))
    assert await verifier_with(keys).verify(token) is None
    assert keys.searches == 0


async def test_that_the_keys_cannot_be_had_is_said_as_it_is() -> None:
    class NoKeys:
        async def find(self, kid: str | None, algorithm: str, client: str | None) -> Sequence[jwt.PyJWK]:
            raise AuthServiceUnavailable("away")

    with pytest.raises(AuthServiceUnavailable):
        await verifier_with(NoKeys()).verify(EC.token())
