"""JWTs of the identity provider: whom a good one stands for, and that every other one is refused."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from service.auth.claims import TokenRules, parse_path
from service.auth.identity_provider import IdentityProvider
from service.auth.jwks import ALGORITHMS, parse_keys
from service.auth.principal import Operator, Principal, Tenant, TenantId
from service.errors import AuthServiceUnavailable, CredentialRejected
from tests.support.identity_provider import (
    AUDIENCE,
    ISSUER,
    NOW,
    SigningKey,
    compact,
    ec_key,
    ed25519_key,
    good_claims,
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
OPERATOR = {"roles": ["viewer", "rooms-operator"]}


class PublishedKeys:
    """The provider's keys at hand; counts how often a key was looked for."""

    def __init__(self, document: bytes, algorithms: Sequence[str] = RULES.algorithms) -> None:
        self._keys = parse_keys(document, algorithms)
        self.searches = 0

    async def find(self, kid: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
        self.searches += 1
        return self._keys.find(kid, algorithm)


def provider(document: bytes | None = None, **rules: Any) -> IdentityProvider:
    changed = dataclasses.replace(RULES, **rules)
    keys = PublishedKeys(document or key_set(*KEYS.values()), changed.algorithms)
    return IdentityProvider(keys, changed, lambda: NOW)


async def refused(token: str, verifier: IdentityProvider | None = None) -> None:
    with pytest.raises(CredentialRejected):
        await (verifier or provider()).verify(token)


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
    assert await IdentityProvider(keys, RULES, lambda: NOW).verify(token) is None
    assert keys.searches == 0


# --- bad ones -----------------------------------------------------------------------------------------------

BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "other"},
    "no audience": {"aud": None},
    "no audience in the list": {"aud": []},
    "the audience in a list in the list": {"aud": [[AUDIENCE]]},
    "an audience that has ours in it": {"aud": f"{AUDIENCE}-admin"},
    "an audience that is an object": {"aud": {AUDIENCE: True}},
    "expired": {"exp": NOW - 30},
    "long expired": {"exp": 0},
    "no expiry": {"exp": None},
    "an expiry in words": {"exp": str(NOW + 240)},
    "an expiry that is true": {"exp": True},
    "an expiry in a list": {"exp": [NOW + 240]},
    "not valid yet": {"nbf": NOW + 31},
    "never valid": {"nbf": 10**400},
    "a time in words before which it is not valid": {"nbf": "0"},
    "issued in the future": {"iat": NOW + 31},
    "issued at no time": {"iat": "yesterday"},
    "issued at true": {"iat": True},
    "no tenant": {"tenant": None},
    "an empty tenant": {"tenant": ""},
    "a blank tenant": {"tenant": " \u3000"},
    "a padded tenant": {"tenant": "acme "},
    "a tenant that is a number": {"tenant": 5},
    "a tenant in a list": {"tenant": ["acme"]},
    "a tenant in an object": {"tenant": {"id": "acme"}},
    "a tenant that is true": {"tenant": True},
    "a tenant with an unpaired surrogate": {"tenant": "acme\ud800"},
    "a tenant without end": {"tenant": "x" * 1025},
}


@pytest.mark.parametrize("claims", BAD_CLAIMS.values(), ids=BAD_CLAIMS)
async def test_bad_claims_are_refused(claims: dict[str, Any]) -> None:
    await refused(EC.token(**claims))


GOOD_TEXT = json.dumps(good_claims()).encode()
BAD_PAYLOADS = {
    "NaN": GOOD_TEXT.replace(str(NOW + 240).encode(), b"NaN"),
    "Infinity": GOOD_TEXT.replace(str(NOW + 240).encode(), b"Infinity"),
    "a number beyond any float": GOOD_TEXT.replace(str(NOW + 240).encode(), b"1e999"),
    "an issuer that stands twice": b'{"iss": "other", ' + GOOD_TEXT[1:],
    "a tenant that stands twice": GOOD_TEXT[:-1] + b', "tenant": "globex"}',
    "a tenant that stands twice, once in escapes": GOOD_TEXT[:-1] + rb', "\u0074enant": "globex"}',
    "a name deep inside that stands twice": GOOD_TEXT[:-1] + b', "a": [{"b": 1, "b": 2}]}',
}


@pytest.mark.parametrize("payload", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS)
async def test_json_that_can_be_read_in_two_ways_is_refused_though_signed(payload: bytes) -> None:
    assert payload != GOOD_TEXT
    await refused(EC.sign(payload))


UNREADABLE = {
    "far too deep": GOOD_TEXT[:-1] + b', "a": ' + b"[" * 2_900 + b"]" * 2_900 + b"}",
    "a number of 5,000 digits": GOOD_TEXT[:-1] + b', "a": ' + b"1" * 5_000 + b"}",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD_TEXT,
    "not UTF-8": GOOD_TEXT[:-1] + b', "a": "\xff"}',
    "cut short": GOOD_TEXT[:-1],
    "text after it": GOOD_TEXT + b"{}",
}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
async def test_claims_that_cannot_be_read_name_nobody_though_signed(payload: bytes) -> None:
    assert await provider().verify(EC.sign(payload)) is None


def public_pem() -> bytes:
    return KEYS["RSA"].private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_signed(secret: bytes, **headers: Any) -> str:
    unsigned = compact({"alg": "HS256", "kid": "rsa", **headers}, good_claims())
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        unsigned.encode(), secret
    )
    return f"{unsigned}.{compact(signature)}"


def forged(**headers: Any) -> str:
    """A token that the attacker's own key signed, and that brings along the means to verify it."""
    own = ec_key("attacker")
    return own.token({"kid": "p256", **headers})


def resigned(change: Callable[[list[str]], list[str]]) -> str:
    return ".".join(change(EC.token().split(".")))


FORGED = {
    "alg none": compact({"alg": "none", "kid": "p256"}, good_claims(), b""),
    "alg None": compact({"alg": "None", "kid": "p256"}, good_claims(), b""),
    "alg none with a signature": compact({"alg": "none", "kid": "p256"}, good_claims(), b"signature"),
    "alg empty": compact({"alg": "", "kid": "p256"}, good_claims(), b"s"),
    "alg null": compact({"alg": None, "kid": "p256"}, good_claims(), b"s"),
    "alg a list": compact({"alg": ["ES256"], "kid": "p256"}, good_claims(), b"s"),
    "no alg": compact({"kid": "p256"}, good_claims(), b"s"),
    "HMAC with the public key in PEM form": hmac_signed(public_pem()),
    "HMAC with the public key as it is published": hmac_signed(json.dumps(KEYS["RSA"].jwk()).encode()),
    "HMAC with an empty secret": hmac_signed(b""),
    "an algorithm that is not allowed": KEYS["RSA"].sign(GOOD_TEXT, "PS256"),
    "an algorithm that does not fit the key": compact({"alg": "RS256", "kid": "p256"}, good_claims(), b"s"),
    "an unknown key": EC.token({"kid": "unknown"}),
    "another's key": forged(),
    "another's key, in the header": forged(jwk=ec_key("attacker").jwk()),
    "another's key, at an address": forged(jku="https://attacker.example.com/keys", x5u="https://a.example"),
    "no signature": resigned(lambda parts: [*parts[:2], ""]),
    "no third part": resigned(lambda parts: parts[:2]),
    "a fourth part": resigned(lambda parts: [*parts, parts[2]]),
    "five parts": resigned(lambda parts: [parts[0], parts[1], "aWk", "Y3Q", "dGFn"]),
    "the signature of another token": resigned(lambda parts: [*parts[:2], EC.token(sub="b").split(".")[2]]),
    "half a signature": resigned(lambda parts: [*parts[:2], parts[2][:43]]),
    "a changed claim": resigned(lambda parts: [parts[0], compact(good_claims(tenant="globex")), parts[2]]),
    "a changed header": resigned(lambda parts: [compact({"alg": "ES256", "kid": "p256"}), *parts[1:]]),
    "no header": resigned(lambda parts: ["", *parts[1:]]),
    "a header that is a list": resigned(lambda parts: [compact(b"[]"), *parts[1:]]),
    "a header far too deep": resigned(lambda parts: [compact(b"[" * 5_000), *parts[1:]]),
    "a header with a number of 5,000 digits": resigned(lambda parts: [compact(b"1" * 5_000), *parts[1:]]),
    "a kid that is a number": compact({"alg": "ES256", "kid": 5}, good_claims(), b"s"),
    "a kid that is null": compact({"alg": "ES256", "kid": None}, good_claims(), b"s"),
    "a critical header": EC.token({"crit": ["exp"], "exp": NOW + 240}),
    "a critical header that PyJWT knows": EC.token({"crit": ["b64"], "b64": True}),
    "no critical header": EC.token({"crit": []}),
    "a payload that is not encoded": compact({"alg": "ES256", "b64": False, "crit": ["b64"]})
    + "."
    + EC.token().partition(".")[2],
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
async def test_a_token_in_our_issuers_name_that_it_did_not_sign_so_is_refused(token: str) -> None:
    await refused(token)


UNFIT_KEYS = {
    "for encryption": EC.jwk(use="enc"),
    "for signing alone": EC.jwk(use=None, key_ops=["sign"]),
    "for operations that are no list": EC.jwk(use=None, key_ops="verify"),
    "for another algorithm": EC.jwk(alg="ES384"),
    "with the private half": EC.private_jwk(),
    "on another curve than it says": EC.jwk(crv="P-384"),
    "off its curve": EC.jwk(x=EC.jwk()["y"]),
    "with an id that is a number": EC.jwk(kid=5),
    "without an id": EC.jwk(kid=None),
    "without its kind": EC.jwk(kty=None),
    "of another kind": EC.jwk(kty="oct", k="c2VjcmV0"),
}


@pytest.mark.parametrize("unfit", UNFIT_KEYS.values(), ids=UNFIT_KEYS)
async def test_a_key_that_is_not_fit_to_verify_verifies_nothing(unfit: dict[str, Any]) -> None:
    await refused(EC.token(), provider(key_set(KEYS["RSA"], unfit)))


async def test_an_rsa_key_that_is_too_small_verifies_nothing() -> None:
    small = rsa_key("small", 1024)
    await refused(small.token(), provider(key_set(KEYS["RSA"], small)))


async def test_a_key_on_the_curve_of_another_algorithm_verifies_nothing() -> None:
    p384 = ec_key("p384", "ES384")
    verifier = provider(key_set(KEYS["RSA"], p384.jwk(alg=None)))
    token = compact({"alg": "ES256", "kid": "p384"}, good_claims(), b"s" * 64)
    await refused(token, verifier)


async def test_a_key_on_the_curve_of_another_algorithm_does_not_count_as_fitting() -> None:
    p384 = ec_key("p384", "ES384").jwk(alg=None, kid="p256")
    assert await provider(key_set(EC, p384)).verify(EC.token()) == OF_ACME


@pytest.mark.parametrize("headers", [{}, {"kid": None}])
async def test_when_two_keys_fit_there_is_no_telling_and_the_token_is_refused(
    headers: dict[str, Any],
) -> None:
    other = ec_key("other").jwk(kid="p256")
    await refused(EC.token(headers), provider(key_set(EC, other)))


async def test_a_refusal_is_logged_with_its_reason_and_nothing_of_the_token() -> None:
    for token in (*FORGED.values(), EC.token({"crit": ["canary"]}), EC.token({"alg": "canary"})):
        with structlog.testing.capture_logs() as logs, pytest.raises(CredentialRejected) as caught:
            await provider().verify(token)
        assert caught.value.__cause__ is None
        (entry,) = logs
        said = entry["problem"]
        assert (entry["log_level"], said) == ("info", str(caught.value))
        assert 0 < len(said) < 100
        assert "canary" not in said
        assert not any(part in said for part in token.split(".") if len(part) > 3)


async def test_that_the_keys_cannot_be_had_is_said_as_it_is() -> None:
    class NoKeys:
        async def find(self, kid: str | None, algorithm: str) -> Sequence[jwt.PyJWK]:
            raise AuthServiceUnavailable("away")

    with pytest.raises(AuthServiceUnavailable):
        await IdentityProvider(NoKeys(), RULES, lambda: NOW).verify(EC.token())


# --- anything -----------------------------------------------------------------------------------------------


async def decided(token: str) -> Principal | None:
    """None for a refusal too; any other exception is a fault."""
    try:
        return await provider().verify(token)
    except CredentialRejected:
        return None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(ISSUER),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["alg", "kid", "crit", "b64", "iss", "aud", "exp", "tenant", "realm"])
            | st.text(),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
PARTS = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=300) | st.text(max_size=50))
async def test_any_text_is_decided(token: str) -> None:
    assert await decided(token) is None


@given(st.lists(PARTS, min_size=1, max_size=6))
async def test_any_parts_are_decided(parts: list[bytes]) -> None:
    assert await decided(compact(*parts)) is None


@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk"]), JSON, max_size=4),
    signature=st.binary(max_size=80),
)
async def test_any_header_over_our_issuers_claims_is_refused(
    header: dict[str, Any], signature: bytes
) -> None:
    known = {"alg": "ES256", "kid": "p256", **header}
    with pytest.raises(CredentialRejected):
        await provider().verify(compact(known, good_claims(), signature))


@given(
    st.dictionaries(st.sampled_from(["aud", "exp", "nbf", "iat", "sub", "tenant", "realm"]), JSON, max_size=4)
)
async def test_any_signed_claims_are_decided(claims: dict[str, Any]) -> None:
    caller = await decided(EC.sign(json.dumps(good_claims() | claims).encode()))
    match caller:
        case Tenant(tenant_id):
            assert tenant_id == claims.get("tenant", "acme")
            assert tenant_id.strip() == tenant_id != ""
        case Operator():
            assert "rooms-operator" in claims["realm"]["roles"]
        case _:
            assert claims


@given(st.integers(0, 10_000), st.integers(0, 255))
async def test_a_token_with_any_byte_changed_is_not_good(place: int, byte: int) -> None:
    token = bytearray(GOOD_TOKEN.encode())
    place %= len(token)
    if token[place] == byte:
        return
    token[place] = byte
    assert await decided(token.decode("latin-1")) is None


GOOD_TOKEN = KEYS["RSA"].token()


async def test_what_is_no_base64url_makes_no_other_token_of_a_good_one() -> None:
    tokens = (EC.token(sub=str(number)) for number in itertools.count())
    token = next(token for token in tokens if set("-_") & set(token.rpartition(".")[2]))
    head, body, signature = token.split(".")
    assert await decided(token) == OF_ACME
    ordinary_base64 = signature.replace("-", "+").replace("_", "/")
    for other in (f"{signature}\n", f" {signature}", f"{signature}.", f"{signature}=", ordinary_base64):
        assert await decided(f"{head}.{body}.{other}") is None
