"""Owns how many calls one worker lets through to the service: of all, of one caller, of one address.

Before it: `asgi` knows the route and the credential. After it: the route's handler. Only what calls the
service is counted: `/` and the documentation are always answered.
"""

import secrets
from collections.abc import Callable
from enum import Enum
from hashlib import blake2b
from typing import Final

from litestar.types import HTTPScope

from common.fair_share import FairShare
from common.rates import Rates
from edge import errors
from edge.client_address import ClientAddresses
from edge.credentials import Credential
from edge.errors import Answer
from edge.known_refusals import KnownRefusals
from edge.settings.limits import CallLimits
from edge.watch import Seen


class Limit(Enum):
    """What a request that is refused is over."""

    CREDENTIAL_CALLS = "credential_calls"
    """All calls under way, or the share of one credential in them."""
    ADDRESS_CALLS = "address_calls"
    """All calls under way, or the share of one client address in them."""
    ANONYMOUS_RATE = "anonymous_rate"
    """The rate of one client address for requests without a credential."""
    TENANT_RATE = "tenant_rate"
    """The rate of a tenant, as the service has just said of another call with the same credential."""


class Place:
    """The place of one request, to be left exactly once.

    Attributes:
        address: of the client, under which it is counted.
        credential: digest of the token; None until its share was taken, or without a token.
    """

    __slots__ = ("address", "credential")

    def __init__(self, address: str) -> None:
        self.address = address
        self.credential: bytes | None = None


class Admission:
    """Lets requests through, or says why not.

    Args:
        limits: how many calls at a time.
        addresses: knows from where a request comes.
        refused: told of each refusal.

    Attributes:
        rates: how often an address may ask without a token; None is as often as it likes.
    """

    def __init__(
        self,
        limits: CallLimits,
        addresses: ClientAddresses,
        refused: Callable[[Limit], None] = lambda _: None,
    ) -> None:
        self._by_address: FairShare[str] = FairShare(limits.calls, limits.calls_per_address)
        self._by_credential: FairShare[bytes] = FairShare(limits.calls, limits.calls_per_credential)
        self._addresses = addresses
        self.rates: Rates | None = None
        self._refused = refused
        self._known = KnownRefusals()
        self._key: Final = secrets.token_bytes(16)

    def over_rate(self, token: str, seconds: int) -> None:
        """The service has refused this token for so many seconds, whatever is asked with it."""
        self._known.add(self._digest(token), seconds)

    async def enter(self, scope: HTTPScope, credential: Credential, seen: Seen) -> Place | Answer:
        """A place, which `leave` gives back, or the refusal; `seen` is told over which limit."""
        token = credential.token
        digest = None if token is None else self._digest(token)
        if digest is not None and (seconds := self._known.seconds_left(digest)) is not None:
            return self._refusal(Limit.TENANT_RATE, seen, seconds)
        address = self._addresses.of(scope)
        if not self._by_address.enter(address):
            return self._refusal(Limit.ADDRESS_CALLS, seen)
        place = Place(address)
        try:
            refusal = await self._refusal_of_caller(place, digest, seen)
        except BaseException:
            self.leave(place)
            raise
        if refusal is None:
            return place
        self.leave(place)
        return refusal

    def leave(self, place: Place) -> None:
        """Gives a place back."""
        self._by_address.leave(place.address)
        if place.credential is not None:
            self._by_credential.leave(place.credential)

    async def _refusal_of_caller(self, place: Place, digest: bytes | None, seen: Seen) -> Answer | None:
        if digest is not None:
            if not self._by_credential.enter(digest):
                return self._refusal(Limit.CREDENTIAL_CALLS, seen)
            place.credential = digest
        elif self.rates is not None:
            seconds = await self.rates.take(place.address)
            if seconds is not None:
                return self._refusal(Limit.ANONYMOUS_RATE, seen, seconds)
        return None

    def _refusal(self, limit: Limit, seen: Seen, seconds: int | None = None) -> Answer:
        self._refused(limit)
        seen.limit = limit.value
        return errors.OVERLOADED if seconds is None else errors.too_many_requests(seconds)

    def _digest(self, token: str) -> bytes:
        # Nothing outside of this process can be told from it, and no token is kept.
        return blake2b(token.encode("ascii"), digest_size=16, key=self._key).digest()
