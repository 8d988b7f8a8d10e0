"""A search for secrets that misses one would prove nothing: it finds each that is planted, in each form."""

import base64
import json
import random
import string
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.support.canaries import PIECE, Canaries, forms


def test_each_form_is_found() -> None:
    canaries = Canaries()
    secret = canaries.make("the secret")
    for form, written in forms(secret):
        found = canaries.found_in(f"before {written} after")
        assert {hit.name for hit in found} == {"the secret"}, form


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("after", range(4))
def test_base64_is_found_wherever_the_secret_stands_in_what_is_encoded(
    encode: Callable[[bytes], bytes], before: int, after: int
) -> None:
    canaries = Canaries()
    secret = canaries.make("the secret")
    encoded = encode(b"\xff" * before + secret.encode() + b"\xff" * after)
    assert canaries.found_in(encoded)


def test_what_other_programs_write_is_found() -> None:
    canaries = Canaries()
    secret = canaries.make("the secret")
    record = json.dumps({"event": f"refused 'Bearer {secret}'"})
    for written in (
        record,
        json.dumps({"quoted": record}),
        repr({"authorization": f"Bearer {secret}"}),
        repr(f"Bearer {secret}".encode()),
        f"GET /livekit/rooms?api_key={quote(secret)}",
        f"GET /livekit/rooms?api_key={quote(secret, safe='').lower()}",
        secret.encode().hex(),
        base64.b64encode(f"user:{secret}".encode()),
    ):
        assert canaries.found_in(written), written


def test_a_long_enough_piece_is_found() -> None:
    canaries = Canaries()
    secret = canaries.make("the secret", plain=True)
    for start in range(len(secret) - 2 * PIECE + 2):
        assert canaries.found_in(secret[start : start + 2 * PIECE - 1])


def test_nothing_is_found_where_there_is_nothing() -> None:
    canaries = Canaries()
    canaries.make("the secret")
    canaries.make("a plain one", plain=True)
    chance = random.Random(1)  # noqa: S311 (text, not a secret)
    text = "".join(chance.choices(string.printable, k=200_000))
    assert canaries.found_in(text) == []
    assert canaries.found_in(base64.b64encode(text.encode())) == []


def test_a_secret_that_could_stand_anywhere_is_refused() -> None:
    with pytest.raises(ValueError, match="by chance"):
        Canaries().plant("the short one", "devkey")


def test_a_made_secret_can_be_a_token() -> None:
    for plain in (True, False):
        secret = Canaries().make("the secret", plain=plain)
        assert len(secret) == 60
        assert set(secret) <= set(string.ascii_letters + string.digits + string.punctuation)
