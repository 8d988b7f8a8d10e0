"""MATRIX C5: which credential of a request counts, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.credentials import Credential, Kind, read_credential, without_api_key

NOTHING, UNUSABLE, REFUSED = (Credential(kind) for kind in (Kind.NOTHING, Kind.UNUSABLE, Kind.REFUSED))


def token(text: str) -> Credential:
    return Credential(Kind.TOKEN, text)


LONGEST = "x" * 8192

CASES: list[tuple[str, list[bytes], bytes, Credential]] = [
    # what, Authorization headers, query, what is passed on
    ("nothing", [], b"", NOTHING),
    ("another parameter", [], b"apikey=a&key=a&x", NOTHING),
    ("a header", [b"Bearer a"], b"", token("a")),
    ("scheme in lower case", [b"bearer a"], b"", token("a")),
    ("scheme in odd case", [b"bEARER a"], b"", token("a")),
    ("blanks around the token", [b"Bearer   a  "], b"", token("a")),
    ("every visible character", [b"Bearer !~a/+=\"'\\"], b"", token("!~a/+=\"'\\")),
    ("a percent sign in a header is itself", [b"Bearer %41"], b"", token("%41")),
    ("the longest token", [b"Bearer " + LONGEST.encode()], b"", token(LONGEST)),
    ("a key", [], b"api_key=a", token("a")),
    ("a key among others", [], b"x=1&api_key=a&y=2", token("a")),
    ("a key decoded once", [], b"api_key=%2541", token("%41")),
    ("an encoded key", [], b"api_key=%41%2B%26%3D", token("A+&=")),
    ("a plus in a key", [], b"api_key=a+b", token("a+b")),
    ("an equals sign in a key", [], b"api_key=a=b==", token("a=b==")),
    ("an encoded name", [], b"%61pi%5Fkey=a", token("a")),
    ("a name decoded once", [], b"%2561pi_key=a", NOTHING),
    ("a plus in the name is no blank", [], b"api+key=a", NOTHING),
    ("a name in upper case", [], b"API_KEY=a", NOTHING),
    ("a name with a blank", [], b"api_key%20=a", NOTHING),
    ("a name in brackets", [], b"api_key[]=a", NOTHING),
    ("a semicolon separates nothing", [], b"x;api_key=a", NOTHING),
    ("both", [b"Bearer a"], b"api_key=b", token("a")),
    ("both, the same", [b"Bearer a"], b"api_key=a", token("a")),
    ("a good header and an unusable key", [b"Bearer a"], b"api_key=%20", token("a")),
    ("a good header and an empty key", [b"Bearer a"], b"api_key=", token("a")),
    ("another scheme and a key", [b"Basic abc"], b"api_key=a", token("a")),
    ("a bare scheme and a key", [b"Bearer"], b"api_key=a", token("a")),
    ("a scheme with blanks only and a key", [b"Bearer  "], b"api_key=a", token("a")),
    ("an empty header and a key", [b""], b"api_key=a", token("a")),
    ("a longer scheme and a key", [b"Bearers b"], b"api_key=a", token("a")),
    ("a token without a scheme and a key", [b"abc"], b"api_key=a", token("a")),
    ("another scheme", [b"Basic abc"], b"", UNUSABLE),
    ("a bare scheme", [b"Bearer"], b"", UNUSABLE),
    ("a scheme with blanks only", [b"Bearer   "], b"", UNUSABLE),
    ("an empty header", [b""], b"", UNUSABLE),
    ("a token glued to its scheme", [b"Bearera"], b"", UNUSABLE),
    ("an empty key", [], b"api_key=", UNUSABLE),
    ("a key without an equals sign", [], b"api_key", UNUSABLE),
    ("another scheme and an empty key", [b"Basic abc"], b"api_key=", UNUSABLE),
    ("a blank in the token", [b"Bearer a b"], b"", REFUSED),
    ("two credentials in one header", [b"Bearer a, Bearer b"], b"", REFUSED),
    ("a tab after the scheme", [b"Bearer\ta"], b"", REFUSED),
    ("a control character", [b"Bearer a\x01"], b"", REFUSED),
    ("a DEL", [b"Bearer a\x7f"], b"", REFUSED),
    ("not ASCII", [b"Bearer caf\xc3\xa9"], b"", REFUSED),
    ("a token too long", [b"Bearer " + LONGEST.encode() + b"x"], b"", REFUSED),
    ("an unusable token and a good key", [b"Bearer a b"], b"api_key=a", REFUSED),
    ("a key that is a blank", [], b"api_key=%20", REFUSED),
    ("a key with a blank at its end", [], b"api_key=a%20", REFUSED),
    ("a key with a NUL", [], b"api_key=a%00", REFUSED),
    ("a key with a line break", [], b"api_key=a%0d%0a", REFUSED),
    ("a key that is no ASCII", [], b"api_key=%FF", REFUSED),
    ("a key too long", [], b"api_key=" + LONGEST.encode() + b"x", REFUSED),
    ("another scheme and an unusable key", [b"Basic abc"], b"api_key=%20", REFUSED),
    ("the same header twice", [b"Bearer a", b"Bearer a"], b"", token("a")),
    ("the same key twice", [], b"api_key=a&x&api_key=a", token("a")),
    ("the same key twice, once encoded", [], b"api_key=a&api_key=%61", token("a")),
    ("two headers", [b"Bearer a", b"Bearer b"], b"", REFUSED),
    ("two headers, one of another scheme", [b"Bearer a", b"Basic abc"], b"", REFUSED),
    ("two headers, one empty", [b"Bearer a", b""], b"", REFUSED),
    ("two headers and a good key", [b"Bearer a", b"Bearer b"], b"api_key=a", REFUSED),
    ("two keys", [], b"api_key=a&api_key=b", REFUSED),
    ("two keys, one empty", [], b"api_key=a&api_key=", REFUSED),
    ("two keys and a good header", [b"Bearer a"], b"api_key=a&api_key=b", REFUSED),
]


@pytest.mark.parametrize(
    ("headers", "query", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_the_credential_of_a_request(headers: list[bytes], query: bytes, expected: Credential) -> None:
    assert read_credential(headers, query) == expected


@given(
    st.lists(st.one_of(st.binary(), st.binary().map(lambda value: b"Bearer " + value)), max_size=3),
    st.lists(st.sampled_from([b"api_key=", b"api_key", b"&", b"=", b"%61", b"a", b"%", b"+", b"\xff"])).map(
        b"".join
    ),
)
def test_only_visible_ascii_ever_becomes_a_token(headers: list[bytes], query: bytes) -> None:
    credential = read_credential(headers, query)
    if credential.kind is Kind.TOKEN:
        assert credential.token is not None
        assert credential.token
        assert all("!" <= character <= "~" for character in credential.token)
    else:
        assert credential.token is None
    assert (credential.kind is Kind.NOTHING) == (not headers and without_api_key(query) == query)


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"", b""),
        (b"x=1&y", b"x=1&y"),
        (b"api_key=a", b""),
        (b"api_key", b""),
        (b"x=1&api_key=a&y=%20+&api_key=b", b"x=1&y=%20+"),
        (b"%61pi_key=a&z", b"z"),
        (b"xapi_key=a", b"xapi_key=a"),
    ],
)
def test_the_query_without_its_credential(query: bytes, left: bytes) -> None:
    assert without_api_key(query) == left


def test_a_token_is_not_in_the_representation() -> None:
    assert "hunter2" not in repr(token("hunter2"))
