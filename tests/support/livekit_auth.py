"""How LiveKit judges a caller's token: the double's half of it, and the tokens that tests sign.

The texts are those of livekit-server 1.13.5, which names the API key and quotes the whole token in them.
"""

import time
from collections.abc import Mapping
from typing import Any

import jwt

LEEWAY_SECONDS = 60


class Refused(Exception):
    """The token is not accepted: 401 with this plain text."""


class NotGranted(Exception):
    """The token is sound and does not allow the call: Twirp `unauthenticated`."""


def sign_token(
    api_key: str,
    api_secret: str,
    video: Mapping[str, object] | None,
    *,
    lives: float = 60,
    starts: float = 0,
    algorithm: str = "HS256",
    claims: Mapping[str, object] | None = None,
) -> str:
    """A token as LiveKit's SDKs sign it.

    Args:
        video: the grants, in LiveKit's spelling (`roomList`, `roomAdmin`, `room`, …); None leaves them out.
        lives: seconds from now to its end; below 0 it is over already.
        starts: seconds from now to its begin.
        claims: more claims, or others than the usual ones; a value of None leaves one out.
    """
    now = time.time()
    signed: dict[str, object] = {"iss": api_key, "nbf": int(now + starts), "exp": int(now + lives)}
    if video is not None:
        signed["video"] = dict(video)
    signed.update(claims or {})
    present = {name: value for name, value in signed.items() if value is not None}
    return jwt.encode(present, api_secret, algorithm=algorithm)


def read_claims(authorization: str | None) -> dict[str, Any] | None:
    """What a token says, its signature unproven; None when there is nothing to read."""
    try:
        return jwt.decode((authorization or "").removeprefix("Bearer "), options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None


def accepted_grants(authorization: str | None, secrets: Mapping[str, str]) -> dict[str, Any]:
    """The video grants of an accepted token; empty when no credential is presented. Raises Refused."""
    if authorization is None:
        return {}
    if not authorization.startswith("Bearer "):
        raise Refused("invalid authorization header. Must start with Bearer ")
    token = authorization.removeprefix("Bearer ")
    unproven = read_claims(authorization)
    if unproven is None:
        raise Refused("invalid authorization token")
    issuer = str(unproven.get("iss", ""))
    if issuer not in secrets:
        raise Refused(f"invalid API key: {issuer}")
    try:
        claims = jwt.decode(
            token,
            secrets[issuer],
            algorithms=["HS256"],
            leeway=LEEWAY_SECONDS,
            options={"verify_aud": False, "verify_iat": False, "verify_sub": False, "verify_jti": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise Refused(_unverified(token, "token has invalid claims: token is expired")) from error
    except jwt.ImmatureSignatureError as error:
        raise Refused(_unverified(token, "token has invalid claims: token is not valid yet")) from error
    except jwt.InvalidAlgorithmError as error:
        method = jwt.get_unverified_header(token).get("alg")
        reason = f"token signature is invalid: signing method {method} is invalid"
        raise Refused(_unverified(token, reason)) from error
    except jwt.InvalidTokenError as error:
        raise Refused(_unverified(token, "token signature is invalid: signature is invalid")) from error
    video = claims.get("video") or {}
    if any(not isinstance(video.get(flag, False), bool) for flag in ("roomList", "roomAdmin", "roomCreate")):
        raise Refused(_unverified(token, "token is malformed: could not JSON decode claim"))
    return dict(video)


def require(grants: Mapping[str, Any], flag: str, room: str | None = None) -> None:
    """Raises NotGranted unless the grants hold the flag, and are for that room when one is given."""
    if not grants.get(flag) or (room is not None and grants.get("room", "") != room):
        raise NotGranted


def _unverified(token: str, reason: str) -> str:
    return f"invalid token: {token}, error: {reason}"
