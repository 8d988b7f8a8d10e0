"""The JSON list of API secrets: what is read, what is refused, and that no secret is ever told."""

import json
import re

import pytest

from service.auth.api_secrets import ApiSecret
from service.auth.generated_secrets import digest_of, new_secret
from service.auth.secret_list import parse_secret_list

CANARY = "canary-5ecret"
GENERATED = new_secret()
DIGEST = digest_of(GENERATED)

GOOD = {
    "one secret": (
        f'[{{"id":"acme","secret":"{CANARY}"}}]',
        [ApiSecret("acme", CANARY, "tenant")],
    ),
    "both roles, spelled out": (
        '[{"id":"acme","secret":"a","role":"tenant"},{"id":"on-call","secret":"b","role":"operator"}]',
        [ApiSecret("acme", "a", "tenant"), ApiSecret("on-call", "b", "operator")],
    ),
    "two secrets of one id, for rotation": (
        '[{"id":"acme","secret":"old"},{"id":"acme","secret":"new"}]',
        [ApiSecret("acme", "old"), ApiSecret("acme", "new")],
    ),
    "an id beyond ASCII, with a blank inside": (
        '[{"id":"caf\u00e9 \U0001f600","secret":"a"}]',
        [ApiSecret("caf\u00e9 \U0001f600", "a")],
    ),
    "a digest": (f'[{{"id":"acme","secret":"{DIGEST}"}}]', [ApiSecret("acme", DIGEST)]),
    "the longest secret": (
        json.dumps([{"id": "acme", "secret": "s" * 8192}]),
        [ApiSecret("acme", "s" * 8192)],
    ),
}


@pytest.mark.parametrize(("text", "secrets"), GOOD.values(), ids=GOOD)
def test_a_list_is_read(text: str, secrets: list[ApiSecret]) -> None:
    assert parse_secret_list(text) == tuple(secrets)


NO_LIST = "is not JSON of the form"
BAD = {
    "empty text": ("", NO_LIST),
    "not JSON": (CANARY, NO_LIST),
    "JSON that breaks off": (f'[{{"id":"acme","secret":"{CANARY}"', NO_LIST),
    "far too deep": ("[" * 100_000, NO_LIST),
    "a number of 5,000 digits": ("1" * 5_000, NO_LIST),
    "an object": (f'{{"acme":"{CANARY}"}}', "valid list"),
    "a text": (f'"{CANARY}"', "valid list"),
    "no entries": ("[]", "lists no secret"),
    "an entry that is a text": (f'["{CANARY}"]', "entry 1: Input should be an object"),
    "no id": (f'[{{"secret":"{CANARY}"}}]', "entry 1: id: Field required"),
    "no secret": ('[{"id":"acme"}]', "entry 1: secret: Field required"),
    "an id that is a number": (f'[{{"id":5,"secret":"{CANARY}"}}]', "entry 1: id: Input should be"),
    "a secret that is a number": ('[{"id":"acme","secret":5}]', "entry 1: secret: Input should be"),
    "a secret that is null": ('[{"id":"acme","secret":null}]', "entry 1: secret: Input"),
    "an unknown role": (f'[{{"id":"a","secret":"s","role":"{CANARY}"}}]', "entry 1: role: Input should be"),
    "a member too many": (f'[{{"id":"a","secret":"s","{CANARY}":1}}]', "entry 1: it has a member other than"),
    "an empty id": (f'[{{"id":"","secret":"{CANARY}"}}]', "entry 1: the id is blank"),
    "a blank id": (f'[{{"id":" ","secret":"{CANARY}"}}]', "entry 1: the id is blank"),
    "a padded id": (f'[{{"id":"acme ","secret":"{CANARY}"}}]', "entry 1: the id is blank, padded"),
    "an id that is no Unicode": (rf'[{{"id":"\ud800","secret":"{CANARY}"}}]', "entry 1: the id is blank"),
    "an empty secret": ('[{"id":"acme","secret":""}]', "entry 1: it is an empty secret"),
    "a secret with a blank": (f'[{{"id":"acme","secret":"{CANARY} x"}}]', "visible ASCII"),
    "a secret with a line end": (rf'[{{"id":"acme","secret":"{CANARY}\n"}}]', "visible ASCII"),
    "a secret beyond ASCII": (f'[{{"id":"acme","secret":"{CANARY}\u00e9"}}]', "visible ASCII"),
    "a secret too long": (json.dumps([{"id": "acme", "secret": "s" * 8193}]), "at most 8192"),
    "one secret in two entries": (
        f'[{{"id":"a","secret":"{CANARY}"}},{{"id":"b","secret":"{CANARY}"}}]',
        "entry 2: the secret is in more than one entry",
    ),
    "one entry twice": (
        f'[{{"id":"a","secret":"{CANARY}"}},{{"id":"a","secret":"{CANARY}"}}]',
        "entry 1: the secret is in more than one entry",
    ),
    "a secret and its digest": (
        json.dumps([{"id": "a", "secret": GENERATED}, {"id": "b", "secret": DIGEST}]),
        "entry 2: the secret is in more than one entry",
    ),
    **{
        f"a digest {how}": (json.dumps([{"id": "a", "secret": secret}]), "entry 1: it is not a digest")
        for how, secret in {
            "in capitals": "sha256:" + DIGEST.removeprefix("sha256:").upper(),
            "with a capital name": "SHA256:" + DIGEST.removeprefix("sha256:"),
            "too short": DIGEST[:-1],
            "too long": DIGEST + "0",
            "with another character": DIGEST[:-1] + "g",
            "without digits": "sha256:",
            "that is none": f"sha256:{CANARY}",
        }.items()
    },
    "one id with two roles": (
        f'[{{"id":"a","secret":"{CANARY}"}},{{"id":"a","secret":"b","role":"operator"}}]',
        "entry 2: another entry gives the same id another role",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), BAD.values(), ids=BAD)
def test_a_bad_list_is_refused_without_telling_a_secret(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as refusal:
        parse_secret_list(text)
    assert CANARY not in f"{refusal.value!s} {refusal.value!r} {refusal.value.__cause__!r}"


def test_all_problems_are_told_at_once() -> None:
    entries = [{"id": " ", "secret": ""}, {"id": "a", "secret": "\u00e9"}]
    with pytest.raises(ValueError, match="entry 2") as refusal:
        parse_secret_list(json.dumps(entries))
    assert len(str(refusal.value).split("; ")) == 3


def test_a_bad_member_hides_no_problem_of_the_secrets() -> None:
    entries = [
        {"id": "a", "secret": CANARY, "role": "king"},
        {"id": 5, "secret": CANARY},
        {"id": "c", "secret": "\ud800"},
        CANARY,
    ]
    with pytest.raises(ValueError, match="entry 1: role") as refusal:
        parse_secret_list(json.dumps(entries))
    told = str(refusal.value)
    assert CANARY not in told
    for place in (1, 2):
        assert f"entry {place}: the secret is in more than one entry" in told
    assert "entry 2: id: Input should be" in told
    assert "entry 3: it is not a secret" in told
    assert "entry 4: Input should be an object" in told
