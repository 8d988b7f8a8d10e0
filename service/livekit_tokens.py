"""Owns the access tokens that TenantRooms shows to LiveKit: the least grant, short-lived, reused.

Step before: `service.livekit` needs a token for a call. There is no step after.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import jwt

LIFETIME_SECONDS: Final = 600
RENEW_BEFORE_EXPIRY_SECONDS: Final = 120
MOST_ROOM_TOKENS_KEPT: Final = 4096

Grants = Mapping[str, bool | str]


class AccessTokens:
    """Signs tokens with an API key and keeps each until shortly before it expires.

    Args:
        api_key: LiveKit's API key, the token's issuer.
        api_secret: the secret that signs (HS256).
        clock: Unix time in seconds.
    """

    def __init__(self, api_key: str, api_secret: str, clock: Callable[[], float] = time.time) -> None:
        self._api_key = api_key
        self._api_secret = api_secret
        self._clock = clock
        # Keyed by room name, None for the list token; the least recently used leaves first.
        self._kept: OrderedDict[str | None, tuple[str, float]] = OrderedDict()

    def sign_with(self, api_key: str, api_secret: str) -> None:
        """Signs with this key from now on; tokens of the key before are not given out again."""
        if (api_key, api_secret) != (self._api_key, self._api_secret):
            self._api_key, self._api_secret = api_key, api_secret
            self._kept.clear()

    def for_listing(self) -> str:
        """A token that may list rooms, and nothing else."""
        return self._token(None, {"roomList": True})

    def for_room(self, room_name: str) -> str:
        """A token that may administer this one room, which LiveKit asks of who reads its participants."""
        return self._token(room_name, {"roomAdmin": True, "room": room_name})

    def _token(self, key: str | None, grants: Grants) -> str:
        now = self._clock()
        token, expires_at = self._kept.get(key, ("", 0.0))
        # A clock that was set back makes a kept token look long-lived; LiveKit would find it not yet valid.
        if not RENEW_BEFORE_EXPIRY_SECONDS < expires_at - now <= LIFETIME_SECONDS:
            token, expires_at = self._sign(now, grants), now + LIFETIME_SECONDS
            self._kept[key] = (token, expires_at)
            if len(self._kept) > MOST_ROOM_TOKENS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return token

    def _sign(self, now: float, grants: Grants) -> str:
        claims = {
            "iss": self._api_key,
            "nbf": int(now),
            "exp": int(now) + LIFETIME_SECONDS,
            "video": dict(grants),
        }
        return jwt.encode(claims, self._api_secret, algorithm="HS256")
