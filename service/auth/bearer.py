"""Owns what a Bearer token is (RFC 6750), and finds the one that a call carries.

Step before: `service.authentication` has the call's `authorization` values. Step after: a verifier.
"""

import re
from collections.abc import Sequence
from typing import Final

from service.errors import CredentialMalformed

MAX_TOKEN_CHARACTERS: Final = 8 * 1024

_TOKEN: Final = re.compile(rf"[!-~]{{1,{MAX_TOKEN_CHARACTERS}}}")


def is_token(text: str) -> bool:
    """Whether this can be a token: 1 to 8,192 characters of visible ASCII."""
    return _TOKEN.fullmatch(text) is not None


def token_in(authorization: Sequence[str]) -> str:
    """The one Bearer token in these `authorization` values; the same value twice counts once.

    Raises:
        CredentialMalformed: there is no such token, or there are several.
    """
    if len(set(authorization)) != 1:
        raise CredentialMalformed("it comes several times, and not always the same")
    scheme, _, token = authorization[0].partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not is_token(token):  # RFC 9110: the scheme is case-insensitive
        raise CredentialMalformed("it is not 'Bearer' and a token of visible ASCII, 8,192 characters at most")
    return token
