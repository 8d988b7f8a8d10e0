"""Owns the order of the verifiers: who decides about a token, and what it means when there is none.

Step before: `service.authentication` has a call's metadata. Step after: the verifiers of this folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from service.auth.bearer import token_in
from service.auth.key_turns import ClientNeeded
from service.auth.principal import Anonymous, Principal
from service.auth.question import Question, question_of
from service.errors import CredentialMissing, CredentialRejected
from service.metadata import Metadata, values_of

_UNKNOWN: Final = (
    "no secret is like it, it is no token of the identity provider, and no auth service is asked"
)


class Verifier(Protocol):
    """One way of finding out, from the token alone, who it stands for."""

    async def verify(self, token: str, client: str | None) -> Principal | None:
        """The caller, or None when this verifier does not know the token and the next one may look.

        Args:
            token: as it came.
            client: from where, for who may wait; None where that is not known yet.

        Raises:
            CredentialRejected: the token is this verifier's to judge, and it is not good.
            ClientNeeded: it is, the call has to wait for that, and the client is None.
            Overloaded: likewise, and too many wait.
        """
        ...


class QuestionVerifier(Protocol):
    """The last way: somebody else is asked, and wants to know what the call is."""

    async def verify(self, question: Question) -> Principal:
        """The caller.

        Raises:
            CredentialRejected: the token is not good.
        """
        ...


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A token that can be judged only once the request has been read, and with it from where the call comes.

    Attributes:
        token: the token.
        waits_for: the verifier whose it is, but which takes a wait; None where it is the auth service's.
    """

    token: str = field(repr=False)
    waits_for: Verifier | None = None


class Authenticator:
    """Decides who is calling.

    Args:
        verifiers: asked in this order; the first that knows the token decides.
        auth_service: decides about a token that none of them knows; None means that it is refused.
        required: whether a call without a credential is refused; if not, it may see all rooms.
    """

    def __init__(
        self,
        verifiers: Sequence[Verifier],
        auth_service: QuestionVerifier | None = None,
        *,
        required: bool,
    ) -> None:
        self._verifiers = verifiers
        self._auth_service = auth_service
        self._required = required

    async def authenticate(self, metadata: Metadata) -> Principal | Unsettled:
        """The caller whose credential this metadata carries, as far as that is all it takes.

        Raises:
            CredentialMissing: there is none, and one is required.
            CredentialMalformed: there is one that nobody could use.
            CredentialRejected: nobody knows it, or who knows it does not accept it.
        """
        presented = values_of(metadata, "authorization")
        verifies = self._verifiers or self._auth_service is not None
        if not self._required and (not presented or not verifies):
            return Anonymous()
        if not presented:
            raise CredentialMissing
        token = token_in(presented)
        for verifier in self._verifiers:
            try:
                principal = await verifier.verify(token, None)
            except ClientNeeded:
                return Unsettled(token, verifier)
            if principal is not None:
                return principal
        if self._auth_service is None:
            raise CredentialRejected(_UNKNOWN)
        return Unsettled(token)

    async def settle(
        self, unsettled: Unsettled, rpc: str, request: Any, metadata: Metadata, client: str = ""
    ) -> Principal:
        """The caller that the auth service names for this call, or the verifier that had to wait.

        Args:
            unsettled: what `authenticate` gave.
            rpc: the full method, `/package.Service/Method`.
            request: its decoded request.
            metadata: the call's.
            client: from where it comes.

        Raises:
            CredentialRejected, AuthServiceFailed, AuthServiceUnavailable, JwtSigningFailed, Overloaded: as it
                says.
        """
        if unsettled.waits_for is not None:
            principal = await unsettled.waits_for.verify(unsettled.token, client)
            if principal is not None:
                return principal
        if self._auth_service is None:
            raise CredentialRejected(_UNKNOWN)
        return await self._auth_service.verify(question_of(rpc, request, metadata, unsettled.token, client))
