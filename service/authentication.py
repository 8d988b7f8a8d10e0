"""Owns the door: which rpc needs a credential, what counts as one, and who the caller then is.

Step before: `service.error_boundary`. Step after: `service.servicer`, which finds the caller in `PRINCIPAL`.
Authentication comes before the request is decoded, so nothing is validated for a caller without a name.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from typing import Final, Protocol

import grpc

from service.auth.bearer import token_in
from service.auth.principal import Anonymous, Principal
from service.errors import CredentialMissing, CredentialRejected
from service.metadata import Metadata, values_of
from service.rpc_types import Continuation, Handler

PRINCIPAL: Final[ContextVar[Principal]] = ContextVar("principal")
"""The caller of the rpc that is being served. It has no default: without one there is no answer."""


class Access(Enum):
    """Who may call an rpc."""

    PUBLIC = "public"
    CREDENTIAL = "credential"


POLICIES: Final[Mapping[str, Access]] = {
    "/tenantrooms.v1.TenantRooms/ListRooms": Access.CREDENTIAL,
    "/tenantrooms.v1.TenantRooms/GetRoom": Access.CREDENTIAL,
    "/grpc.health.v1.Health/Check": Access.PUBLIC,
    "/grpc.health.v1.Health/List": Access.PUBLIC,
    "/grpc.health.v1.Health/Watch": Access.PUBLIC,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Access.PUBLIC,
}
"""Every rpc that this process serves. One that is missing here is never served."""


class Verifier(Protocol):
    """One way of finding out who a token stands for."""

    async def verify(self, token: str) -> Principal | None:
        """The caller, or None when this verifier does not know the token and the next one may look.

        Raises:
            CredentialRejected: the token is this verifier's to judge, and it is not good.
        """
        ...


class Authenticator:
    """Decides who is calling from a call's metadata.

    Args:
        verifiers: asked in this order; the first that knows the token decides.
        required: whether a call without a credential is refused; if not, it may see all rooms.
    """

    def __init__(self, verifiers: Sequence[Verifier], required: bool) -> None:
        self._verifiers = verifiers
        self._required = required

    async def authenticate(self, metadata: Metadata) -> Principal:
        """The caller whose credential this metadata carries.

        Raises:
            CredentialMissing: there is none, and one is required.
            CredentialMalformed: there is one that nobody could use.
            CredentialRejected: nobody knows it.
        """
        presented = values_of(metadata, "authorization")
        if not self._required and (not presented or not self._verifiers):
            return Anonymous()
        if not presented:
            raise CredentialMissing
        token = token_in(presented)
        for verifier in self._verifiers:
            principal = await verifier.verify(token)
            if principal is not None:
                return principal
        raise CredentialRejected


class AuthenticationInterceptor(grpc.aio.ServerInterceptor):
    """Lets a call through to its servicer once its caller is known, or need not be."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Names the caller, or raises as `Authenticator.authenticate` does."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # no such rpc: gRPC itself says so
        if POLICIES[handler_call_details.method] is Access.CREDENTIAL:
            PRINCIPAL.set(await self._authenticator.authenticate(handler_call_details.invocation_metadata))
        return handler
