"""Owns the claims of a JWT (RFC 7519): how they are read, and the rules for what they must say.

They are read strictly, so that there is one way to understand them.

Step before: `service.auth.identity_provider` has a payload. There is no step after.
"""

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NewType

from common.memory import no_collection
from service.auth.unambiguous_json import members_once

Claims = Mapping[str, Any]

ClaimPath = NewType("ClaimPath", tuple[str, ...])
"""The names on the way to a claim, from the outermost object inwards."""

_DOT = re.compile(r"(?<!\\)\.")


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token of the identity provider must say.

    Attributes:
        issuer: its `iss`, exactly.
        audience: its `aud`, or one of them, exactly.
        algorithms: those that are allowed, of `service.auth.jwks.ALGORITHMS`.
        leeway: seconds by which the provider's clock and ours may differ.
        tenant_claim: where the tenant's id stands; None when there are only operators.
        operator_claim: where it stands that the caller is an operator; None when nobody is.
        operator_value: what must stand there, or be in the list that stands there.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    leeway: float
    tenant_claim: ClaimPath | None
    operator_claim: ClaimPath | None
    operator_value: str | None


def parse_path(text: str) -> ClaimPath:
    r"""The path that this text spells: names with dots between them; a dot in a name is written `\.`.

    Raises:
        ValueError: a name is empty or padded, or a backslash stands before anything but a dot, or the text
            is a web address with plain dots in its host, which is one name.
    """
    names = [name.replace("\\.", ".") for name in _DOT.split(text)]
    if any(not name or name != name.strip() or "\\" in name for name in names):
        raise ValueError("is not a path of claim names with dots between them")
    if len(names) > 1 and re.fullmatch("https?://[^/]*", names[0]):
        raise ValueError(r"looks like one claim whose name is an address: write each dot in it as \.")
    return ClaimPath(tuple(names))


def claim_at(claims: Claims, path: ClaimPath) -> Any:
    """The value at the end of the path, or None where there is nothing."""
    value: Any = claims
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def unverified_issuer(token: str) -> str | None:
    """Who is named as the issuer in the second part of this text, if that is the claims of a JWT.

    It proves nothing: it only tells whose business the token is. So it is read generously; a name that stands
    twice counts as it stands last.
    """
    _, _, rest = token.partition(".")
    segment = rest.partition(".")[0]
    try:
        payload = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars="-_", validate=True)
        with no_collection():  # a stranger's text, as deep as that likes
            # An int of too many digits would be an error.
            claims = json.loads(payload.decode(), parse_int=float)
    except (ValueError, RecursionError):
        return None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None


def parse_claims(payload: bytes) -> Claims:
    """The claims in a verified payload.

    Raises:
        ValueError, RecursionError: it is not a JSON object in UTF-8, or a name stands twice in an object.
    """
    claims = json.loads(payload.decode(), object_pairs_hook=members_once, parse_constant=_no_number)
    if not isinstance(claims, dict):
        raise ValueError("the payload is not an object")  # noqa: TRY004 (of data, not of an argument)
    return claims


def number_at(claims: Claims, name: str) -> int | float | None:
    """A time in Unix seconds, or None where there is none.

    Raises:
        ValueError: it is not a finite number.
    """
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value in (math.inf, -math.inf):
        raise ValueError(f"{name} is not a number")
    return value


def _no_number(_: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")
