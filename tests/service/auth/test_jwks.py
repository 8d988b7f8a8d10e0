"""Key sets of any content: whatever a provider publishes is read or refused, and nothing else happens."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.utils import to_base64url_uint

from service.auth.jwks import ALGORITHMS, KeySetUnusable, parse_keys
from tests.support.identity_provider import ec_key, ed25519_key, key_set, rsa_key

KEYS = [rsa_key("rsa"), ec_key("p256"), ed25519_key("ed")]
MEMBERS = sorted({name for key in KEYS for name in key.private_jwk()} | {"alg", "use", "x5c", "k"})

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.text("AB_-=", max_size=90)
    | st.sampled_from(
        ["RSA", "EC", "OKP", "oct", "P-256", "P-384", "P-521", "secp256k1", "Ed25519", "Ed448"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
SPOILT = st.builds(
    lambda key, changes: {**key.jwk(alg=None, use=None), **changes},
    st.sampled_from(KEYS),
    st.dictionaries(st.sampled_from(MEMBERS), JSON, min_size=1, max_size=3),
)


@given(st.lists(SPOILT | JSON, max_size=4))
def test_spoilt_keys_are_passed_over_and_a_good_one_among_them_is_used(members: list[Any]) -> None:
    keys = parse_keys(key_set(*members, rsa_key("good").jwk(kid="the good one")), ALGORITHMS)
    assert len(keys.find("the good one", "RS256")) == 1


@given(JSON | st.fixed_dictionaries({"keys": JSON | st.lists(SPOILT, max_size=3)}))
def test_any_document_is_a_key_set_or_unusable(document: Any) -> None:
    with contextlib.suppress(KeySetUnusable):
        parse_keys(json.dumps(document).encode(), ALGORITHMS)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_key_set(document: bytes) -> None:
    with pytest.raises(KeySetUnusable):
        parse_keys(document, ALGORITHMS)


def test_a_document_that_is_far_too_deep_is_no_key_set() -> None:
    with pytest.raises(KeySetUnusable):
        parse_keys(b'{"keys": ' + b"[" * 100_000, ALGORITHMS)


def test_a_byte_order_mark_is_passed_over() -> None:
    keys = parse_keys(b"\xef\xbb\xbf" + key_set(ec_key("p256")), ALGORITHMS)
    assert len(keys.find("p256", "ES256")) == 1


@pytest.mark.parametrize("bits", [1024, 2047, 8200])
def test_rsa_keys_that_are_too_small_or_too_large_are_passed_over(bits: int) -> None:
    modulus = int.from_bytes(b"\xff" * 2048) >> (2048 * 8 - bits)
    wanting = rsa_key("rsa").jwk(n=to_base64url_uint(modulus).decode())
    with pytest.raises(KeySetUnusable):
        parse_keys(key_set(wanting), ALGORITHMS)
