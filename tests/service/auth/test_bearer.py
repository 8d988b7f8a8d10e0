"""What a Bearer token is, and which one a call's `authorization` values carry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth.bearer import MAX_TOKEN_CHARACTERS, is_token, token_in
from service.errors import CredentialMalformed

LONGEST = "t" * MAX_TOKEN_CHARACTERS

USABLE = {
    "as everybody writes it": (["Bearer t0ken"], "t0ken"),
    "the scheme in lower case": (["bearer t0ken"], "t0ken"),
    "the scheme in odd case": (["bEaReR t0ken"], "t0ken"),
    "blanks around the token": (["Bearer   t0ken  "], "t0ken"),
    "every visible character": (
        ["Bearer !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"],
        "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    ),
    "the token's own case is kept": (["Bearer ToKeN"], "ToKeN"),
    "the longest token": ([f"Bearer {LONGEST}"], LONGEST),
    "the same twice": (["Bearer t0ken", "Bearer t0ken"], "t0ken"),
}

UNUSABLE = {
    "no value": [],
    "an empty value": [""],
    "a scheme alone": ["Bearer"],
    "a scheme and blanks": ["Bearer   "],
    "a token alone": ["t0ken"],
    "another scheme": ["Basic t0ken"],
    "a longer scheme": ["BearerX t0ken"],
    "a scheme that looks like it": ["\uff22earer t0ken"],
    "a blank before the scheme": [" Bearer t0ken"],
    "no blank": ["Bearer:t0ken"],
    "a tab for the blank": ["Bearer\tt0ken"],
    "two tokens": ["Bearer one two"],
    "two values in one, as proxies join them": ["Bearer one, Bearer two"],
    "two different values": ["Bearer one", "Bearer two"],
    "two values that differ in case": ["Bearer one", "bearer one"],
    "a good one and an empty one": ["Bearer one", ""],
    "a character too many": [f"Bearer {LONGEST}t"],
    "a tab in the token": ["Bearer a\tb"],
    "a line end": ["Bearer t0ken\n"],
    "a NUL": ["Bearer t0ken\0"],
    "DEL": ["Bearer t0ken\x7f"],
    "a letter outside ASCII": ["Bearer t\u00f6ken"],
    "a no-break space": ["Bearer \u00a0t0ken"],
}


@pytest.mark.parametrize(("authorization", "token"), USABLE.values(), ids=USABLE)
def test_a_usable_credential_gives_its_token(authorization: list[str], token: str) -> None:
    assert token_in(authorization) == token


@pytest.mark.parametrize("authorization", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_credential_is_malformed(authorization: list[str]) -> None:
    with pytest.raises(CredentialMalformed):
        token_in(authorization)


@given(st.text(max_size=20) | st.text(st.characters(max_codepoint=0x7F), max_size=20))
def test_a_token_is_visible_ascii_and_nothing_else(text: str) -> None:
    assert is_token(text) == (text != "" and all(0x21 <= ord(character) <= 0x7E for character in text))
