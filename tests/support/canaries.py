"""Secrets that are planted where they may be, and looked for where they must not be.

    canaries = Canaries()
    secret = canaries.make("the API secret")
    …  # the code under test is given the secret, and writes and answers what it does
    assert canaries.found_in(log) == []

A secret is found whole or in pieces of 2 × 20 - 1 characters or more, as it is and in every form in which
programs write it: base64 at each alignment in both alphabets, hexadecimal, percent-encoded, escaped as in
JSON (once or twice, as where one record quotes another), Python or HTML.
"""

import base64
import html
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

PIECE = 20
"""Characters of the pieces that are looked for; a shorter secret is looked for whole."""

# What forms write differently from one another, all of it visible ASCII as in a token.
_ODD = '"+/%\\&=<'


@dataclass(frozen=True, order=True)
class Hit:
    """One canary that was found, and in which form."""

    name: str
    form: str


class Canaries:
    """All secrets of one test."""

    def __init__(self) -> None:
        self._needles: dict[bytes, Hit] = {}

    def make(self, name: str, *, plain: bool = False) -> str:
        """A new secret of 60 characters of visible ASCII; a plain one has letters, digits, - and _ only."""
        odd = "" if plain else _ODD
        secret = secrets.token_urlsafe(45)[: 60 - 2 * len(odd)] + odd
        return self.plant(name, odd + secret)

    def plant(self, name: str, secret: str) -> str:
        """A secret of the test's own, of at least 8 characters of ASCII. Gives it back."""
        if len(secret) < 8:
            raise ValueError(f"{name} is so short that it may be found by chance")
        for piece in _pieces(secret):
            for form, needle in forms(piece):
                self._needles.setdefault(needle.encode(), Hit(name, form))
        return secret

    def found_in(self, text: bytes | str) -> list[Hit]:
        """Which secrets stand there, and how."""
        content = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        return sorted({hit for needle, hit in self._needles.items() if needle in content})


def forms(secret: str) -> Iterator[tuple[str, str]]:
    """Every form of a secret, with its name. Some may be alike."""
    yield "raw", secret
    raw = secret.encode()
    for alignment in range(3):
        for name, alphabet in (("base64", b"+/"), ("base64url", b"-_")):
            yield f"{name}, alignment {alignment}", _base64_inside(raw, alignment, alphabet)
    yield "hex", raw.hex()
    yield "HEX", raw.hex().upper()
    for name, encoded in (
        ("percent", quote(secret, safe="")),
        ("percent, slashes kept", quote(secret)),
        ("form", quote_plus(secret)),
        ("percent, every byte", "".join(f"%{byte:02X}" for byte in raw)),
    ):
        yield name, encoded
        yield f"{name}, in lower-case digits", _lower_percent(encoded)
        yield f"{name}, lower case", encoded.lower()
        yield f"{name}, twice", quote(encoded, safe="")
    in_json = json.dumps(secret)[1:-1]
    yield "JSON", in_json
    yield "JSON, slashes escaped", in_json.replace("/", "\\/")
    yield "JSON in JSON", json.dumps(in_json)[1:-1]
    yield "JSON in JSON in JSON", json.dumps(json.dumps(in_json)[1:-1])[1:-1]
    # Encoders for the web escape what HTML could take for a tag.
    yield "JSON of Go", "".join(f"\\u{ord(one):04x}" if one in "<>&" else one for one in in_json)
    yield "JSON, every character", "".join(f"\\u{byte:04x}" for byte in raw)
    yield "Python", repr(secret)[1:-1]
    yield "Python in JSON", json.dumps(repr(secret)[1:-1])[1:-1]
    yield "HTML", html.escape(secret)
    yield "lower case", secret.lower()
    yield "upper case", secret.upper()


def _pieces(secret: str) -> list[str]:
    whole = range(0, len(secret) - PIECE + 1, PIECE)
    return [secret[start : start + PIECE] for start in whole] or [secret]


def _base64_inside(raw: bytes, alignment: int, alphabet: bytes) -> str:
    """What stands in the base64 of any text in which `raw` begins at this place, modulo 3."""
    encoded = base64.b64encode(bytes(alignment) + raw, alphabet).decode()
    # 6 bits a character; those that other bytes have a share in may be anything.
    return encoded[-(-alignment * 8 // 6) : (alignment + len(raw)) * 8 // 6]


def _lower_percent(encoded: str) -> str:
    first, *rest = encoded.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])
