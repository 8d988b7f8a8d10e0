"""Owns the door: which rpc needs a credential, and that no servicer runs before its caller is known.

Step before: `service.overload`. Step after: `service.tenant_limits`, then `service.audit` and
`service.servicer`, which find the caller in `PRINCIPAL`. Authentication comes before the request is decoded,
so nothing is validated for a caller without a name. Only the auth service has to know the request; what it
decides about is decoded first, and looked at after. So is what comes with a token whose key has to be
fetched: who may wait for that goes by from where calls come, which gRPC tells no earlier.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from enum import Enum
from time import monotonic
from typing import Any, Final, NamedTuple, cast

import grpc

from service.auth.authenticator import Authenticator, Unsettled
from service.auth.principal import Principal
from service.client_address import ClientAddresses
from service.metadata import Metadata
from service.rpc_types import Behaviour, Context, Continuation, Handler
from service.wrapped_handlers import WrappedHandlers

PRINCIPAL: Final[ContextVar[Principal]] = ContextVar("principal")
"""The caller of the rpc that is being served. It has no default: without one there is no answer."""


_ARRIVAL: Final[ContextVar["_Arrival"]] = ContextVar("arrival")
"""How the rpc that is being served came."""

_REQUEST_SECONDS: Final = 1.0
"""How long after its headers a request may come and still be served for the caller that they named."""


class _Arrival(NamedTuple):
    """A call's headers, and what they said: who calls, by which authenticator, and when that was found."""

    authenticator: Authenticator
    caller: Principal | Unsettled
    moment: float
    metadata: Metadata


class Access(Enum):
    """Who may call an rpc."""

    PUBLIC = "public"
    CREDENTIAL = "credential"


POLICIES: Final[Mapping[str, Access]] = {
    "/tenantrooms.v1.TenantRooms/ListRooms": Access.CREDENTIAL,
    "/tenantrooms.v1.TenantRooms/GetRoom": Access.CREDENTIAL,
    # Each call on the stream comes here by itself.
    "/tenantrooms.relay.v1.Relay/Exchange": Access.PUBLIC,
    "/grpc.health.v1.Health/Check": Access.PUBLIC,
    "/grpc.health.v1.Health/List": Access.PUBLIC,
    "/grpc.health.v1.Health/Watch": Access.PUBLIC,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Access.PUBLIC,
}
"""Every rpc that this process serves. One that is missing here is never served."""


def is_known_by_token_alone() -> bool:
    """Whether it is certain that the caller is the same whatever else comes with the token."""
    return not isinstance(_ARRIVAL.get().caller, Unsettled)


class AuthenticationInterceptor(grpc.aio.ServerInterceptor):
    """Lets a call through to its servicer once its caller is known, or need not be.

    Args:
        authenticator: decides who is calling.
        addresses: tells from where a call comes.

    Attributes:
        authenticator: decides who is calling; may be replaced, which holds for calls that come after.
    """

    def __init__(self, authenticator: Authenticator, addresses: ClientAddresses | None = None) -> None:
        self.authenticator = authenticator
        self._addresses = addresses or ClientAddresses(())
        self._serving = WrappedHandlers(self._served_for_its_caller)

    async def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Names the caller, or raises as `Authenticator.authenticate` does."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # no such rpc: gRPC itself says so
        if POLICIES[handler_call_details.method] is Access.PUBLIC:
            return handler
        authenticator, moment = self.authenticator, monotonic()
        metadata = handler_call_details.invocation_metadata
        caller = await authenticator.authenticate(metadata)
        _ARRIVAL.set(_Arrival(authenticator, caller, moment, metadata))
        return self._serving.of(handler_call_details.method, handler)

    def _served_for_its_caller(self, method: str, handler: "Handler") -> "Handler":
        """The rpc, served for its caller once its request has been read.

        Who holds the request back while its credential is revoked or expires gains nothing: the caller is
        named anew when that took long, or when the credentials in force have changed.
        """
        serve = cast(Behaviour, handler.unary_unary)

        async def name_and_serve(request: Any, context: Context) -> Any:
            latest, arrival = self.authenticator, _ARRIVAL.get()
            who = arrival.caller
            if latest is not arrival.authenticator or monotonic() - arrival.moment > _REQUEST_SECONDS:
                who = await latest.authenticate(arrival.metadata)
            if isinstance(who, Unsettled):
                client = self._addresses.of(arrival.metadata, context.peer())
                who = await latest.settle(who, method, request, arrival.metadata, client)
            PRINCIPAL.set(who)
            return await serve(request, context)

        return grpc.unary_unary_rpc_method_handler(
            cast(Any, name_and_serve), handler.request_deserializer, handler.response_serializer
        )
