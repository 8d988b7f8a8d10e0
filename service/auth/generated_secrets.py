"""Owns the secrets that our own command makes: their form, and the digest that may stand in their place.

A digest without salt is safe for these alone: 32 random bytes cannot be guessed, a chosen text can. So a
digest stands for secrets of this form and no other, see `service.auth.api_secrets`.
"""

import hashlib
import re
import secrets
from typing import Final

PREFIX: Final = "trs_"
DIGEST_PREFIX: Final = "sha256:"
_BYTES: Final = 32

# 43 characters of base64url are 258 bits: of 32 bytes, the last one has its two lowest bits unset.
_GENERATED: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{42}}[AEIMQUYcgkosw048]")
_DIGEST: Final = re.compile(rf"{DIGEST_PREFIX}[0-9a-f]{{64}}")


def new_secret() -> str:
    """A secret with 256 bits of entropy."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def is_generated(secret: str) -> bool:
    """Whether this has exactly the form of `new_secret`."""
    return _GENERATED.fullmatch(secret) is not None


def digest_of(secret: str) -> str:
    """What may stand in a list in the place of this secret."""
    return DIGEST_PREFIX + hashlib.sha256(secret.encode()).hexdigest()


def is_digest(text: str) -> bool:
    """Whether this is `sha256:` with 64 lower-case hexadecimal digits."""
    return _DIGEST.fullmatch(text) is not None


def looks_like_digest(text: str) -> bool:
    """Whether whoever wrote this seems to have meant a digest, well-formed or not."""
    return text.lower().startswith(DIGEST_PREFIX)
