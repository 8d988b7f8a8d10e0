"""API secrets: whose a presented token is, and that nothing of a secret is kept or shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth.api_secrets import ApiSecret, ApiSecrets
from service.auth.generated_secrets import PREFIX, digest_of, is_generated, new_secret
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


@pytest.mark.wall
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


# --- digests ----------------------------------------------------------------------------------------------

GENERATED = new_secret()


async def test_a_generated_secret_is_known_by_its_digest() -> None:
    secrets = ApiSecrets([ApiSecret("acme", digest_of(GENERATED)), ApiSecret("globex", SECRET)])
    assert await secrets.verify(GENERATED) == ACME
    assert await secrets.verify(SECRET) == GLOBEX
    assert await secrets.verify(new_secret()) is None


async def test_a_generated_secret_may_stand_there_itself() -> None:
    assert await ApiSecrets([ApiSecret("acme", GENERATED)]).verify(GENERATED) == ACME


NOT_GENERATED = {
    "a chosen text": "hunter2",
    "nothing": "",
    "the prefix alone": PREFIX,
    "without the prefix": GENERATED.removeprefix(PREFIX),
    "another prefix": GENERATED.replace(PREFIX, "TRS_"),
    "a character less": PREFIX + "A" * 42,
    "a character more": PREFIX + "A" * 44,
    "padding": PREFIX + "A" * 43 + "=",
    "another alphabet": PREFIX + "A" * 41 + "+A",
    "bits that 32 bytes do not have": PREFIX + "A" * 42 + "B",
    "a line end": PREFIX + "A" * 43 + "\n",
    "what looks like a digit": PREFIX + "A" * 41 + "\u0661A",
}


@pytest.mark.parametrize("secret", NOT_GENERATED.values(), ids=NOT_GENERATED)
async def test_the_digest_of_any_other_secret_lets_nobody_in(secret: str) -> None:
    assert not is_generated(secret)
    secrets = ApiSecrets([ApiSecret("acme", digest_of(secret))])
    assert await secrets.verify(secret) is None


async def test_who_knows_only_the_digest_is_not_let_in() -> None:
    digest = digest_of(GENERATED)
    secrets = ApiSecrets([ApiSecret("acme", digest)])
    hexadecimal = digest.removeprefix("sha256:")
    for token in (digest, digest.upper(), hexadecimal, PREFIX + hexadecimal, digest_of(digest)):
        assert await secrets.verify(token) is None


async def test_a_digest_of_a_digest_lets_nobody_in() -> None:
    digest = digest_of(GENERATED)
    assert await ApiSecrets([ApiSecret("acme", digest_of(digest))]).verify(digest) is None


def test_generated_secrets_have_their_form_and_differ() -> None:
    made = {new_secret() for _ in range(200)}
    assert len(made) == 200
    assert all(map(is_generated, made))


def test_of_an_entry_with_a_digest_the_digest_is_not_kept_either() -> None:
    digest = digest_of(GENERATED)
    kept = vars(ApiSecrets([ApiSecret("acme", digest)]))["_principals"]
    assert bytes.fromhex(digest.removeprefix("sha256:")).hex() not in {key.hex() for key in kept}
