"""Owns how many calls one worker lets through to the service: of all, of one caller, of one address.

Before it: `asgi` knows the route and the credential. After it: Litestar. Only what calls the service is
counted: `/` and the documentation are always answered.
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
from edge.credentials import Credential, Kind
from edge.errors import Answer
from edge.settings.limits import CallLimits


class Limit(Enum):
    """What a request that is refused is over."""

    CREDENTIAL_CALLS = "credential_calls"
    """All calls under way, or the share of one credential in them."""
    ADDRESS_CALLS = "address_calls"
    """All calls under way, or the share of one client address in them."""
    ANONYMOUS_RATE = "anonymous_rate"
    """The rate of one client address for requests without a credential."""


class Place:
    """The place of one request, to be left exactly once.

    Attributes:
        address, credential: under which keys it is counted; None is not at all.
    """

    __slots__ = ("address", "credential")

    def __init__(self, address: str, credential: bytes | None) -> None:
        self.address = address
        self.credential = credential


class Admission:
    """Lets requests through, or says why not.

    Args:
        limits: how many calls at a time.
        addresses: knows from where a request comes.
        refused: told of each refusal.

    Attributes:
        rates: how often an address may ask without a credential; None is as often as it likes.
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
        self._key: Final = secrets.token_bytes(16)

    async def enter(self, scope: HTTPScope, credential: Credential) -> Place | Answer:
        """A place, which `leave` gives back, or the refusal."""
        address = self._addresses.of(scope)
        if not self._by_address.enter(address):
            self._refused(Limit.ADDRESS_CALLS)
            return errors.OVERLOADED
        place = Place(address, None)
        try:
            refusal = await self._refusal(place, credential)
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

    async def _refusal(self, place: Place, credential: Credential) -> Answer | None:
        if credential.token is None:
            if self.rates is not None and credential.kind is Kind.NOTHING:
                seconds = await self.rates.take(place.address)
                if seconds is not None:
                    self._refused(Limit.ANONYMOUS_RATE)
                    return errors.too_many_requests(seconds)
            return None
        # Nothing outside of this process can be told from it, and no token is kept.
        digest = blake2b(credential.token.encode("ascii"), digest_size=16, key=self._key).digest()
        if not self._by_credential.enter(digest):
            self._refused(Limit.CREDENTIAL_CALLS)
            return errors.OVERLOADED
        place.credential = digest
        return None
