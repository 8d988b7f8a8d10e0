"""API secrets: whose a presented token is, and that nothing of a secret is kept or shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth.api_secrets import ApiSecret, ApiSecrets
from service.auth.principal import Operator, Principal, Tenant, TenantId

SECRET = "s3cret-Of-acme-0123456789"
ACME = Tenant(TenantId("acme"))
GLOBEX = Tenant(TenantId("globex"))

CONFIGURED = [
    ApiSecret("acme", SECRET),
    ApiSecret("acme", "acme's-next-secret"),
    ApiSecret("globex", SECRET + "0"),
    ApiSecret("on-call", "operator-secret", "operator"),
]

KNOWN = [
    (SECRET, ACME),
    ("acme's-next-secret", ACME),
    (SECRET + "0", GLOBEX),
    ("operator-secret", Operator("on-call")),
]


@pytest.mark.parametrize(("token", "principal"), KNOWN)
async def test_each_secret_stands_for_its_own_principal(token: str, principal: Principal) -> None:
    assert await ApiSecrets(CONFIGURED).verify(token) == principal


NEAR_MISSES = {
    "empty": "",
    "a character less": SECRET[:-1],
    "a character less in front": SECRET[1:],
    "two characters more": SECRET + "00",
    "another case": SECRET.swapcase(),
    "padded": f" {SECRET}",
    "twice": SECRET * 2,
    "the id": "acme",
    **{
        f"another character at {place}": SECRET[:place] + "*" + SECRET[place + 1 :]
        for place in range(len(SECRET))
    },
}


@pytest.mark.parametrize("token", NEAR_MISSES.values(), ids=NEAR_MISSES)
async def test_a_near_miss_is_nobodys(token: str) -> None:
    assert await ApiSecrets(CONFIGURED).verify(token) is None


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1))
async def test_any_other_token_is_nobodys(token: str) -> None:
    expected = dict(KNOWN).get(token)
    assert await ApiSecrets(CONFIGURED).verify(token) == expected


async def test_without_secrets_nobody_is_known() -> None:
    assert await ApiSecrets([]).verify("anything") is None


def test_what_is_kept_is_a_digest_under_a_key_of_its_own() -> None:
    one, other = vars(ApiSecrets(CONFIGURED)), vars(ApiSecrets(CONFIGURED))
    for entry in CONFIGURED:
        assert entry.secret not in repr(one)
    digests, others = one["_principals"].keys(), other["_principals"].keys()
    assert {len(digest) for digest in digests} == {32}
    assert digests.isdisjoint(others)  # what is learnt about one process says nothing about another


def test_a_secret_shows_neither_in_repr_nor_in_str() -> None:
    entry = ApiSecret("acme", SECRET)
    assert SECRET not in f"{entry!r} {entry!s}"
    assert "acme" in repr(entry)
