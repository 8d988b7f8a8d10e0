"""JWTs in the identity provider's name that are refused: for their claims, their signature, or the key."""

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.errors import CredentialRejected
from tests.service.auth.oidc import EC, KEYS, OF_ACME, provider, refused
from tests.support.identity_provider import AUDIENCE, NOW, compact, ec_key, good_claims, key_set, rsa_key

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
    "a number of 5,000 digits": GOOD_TEXT[:-1] + b', "a": ' + b"1" * 5_000 + b"}",
    "a name deep inside that stands twice": GOOD_TEXT[:-1] + b', "a": [{"b": 1, "b": 2}]}',
}


@pytest.mark.parametrize("payload", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS)
async def test_json_that_not_all_read_alike_is_refused_though_signed(payload: bytes) -> None:
    assert payload != GOOD_TEXT
    await refused(EC.sign(payload))


UNREADABLE = {
    "far too deep": GOOD_TEXT[:-1] + b', "a": ' + b"[" * 2_900 + b"]" * 2_900 + b"}",
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
