"""JWTs of any content: each is decided, and only a good one is accepted."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth.principal import Operator, Principal, Tenant
from service.errors import CredentialRejected
from tests.service.auth.oidc import EC, KEYS, OF_ACME, provider
from tests.support.identity_provider import ISSUER, compact, good_claims


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
