"""Owns the bound on calls in this process: who is one too many is refused before anything is spent on it.

An interceptor. Step before: `service.error_boundary`. Step after: `service.authentication`, whose signatures
and questions to an auth service cost. Health checks are not counted, so they are answered in any flood.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, cast

import grpc

from common.fair_share import FairShare
from service.authentication import POLICIES, Access
from service.errors import Overloaded
from service.metadata import Metadata, values_of
from service.places import Limit
from service.rpc_types import Behaviour, Context, Continuation, Handler
from service.wrapped_handlers import WrappedHandlers

_WHO: Final[ContextVar[int]] = ContextVar("who")
"""Under which digest the call that is being served is counted."""


class OverloadGuard(grpc.aio.ServerInterceptor):
    """Refuses calls over a number at a time, and those of a credential that takes more than its share.

    Whose a credential is, is not known yet. It is counted under a digest of it that means nothing outside of
    this process.

    Args:
        most_calls: calls under way, from the door to the answer.
        refused: told of each refusal.
    """

    def __init__(self, most_calls: int, refused: Callable[[Limit], None]) -> None:
        self._calls: FairShare[int] = FairShare(most_calls)
        self._refused = refused
        self._counting = WrappedHandlers(self._counted)

    async def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Gives the rpc, which then counts for as long as it runs.

        Raises:
            Overloaded: there is no place for this call.
        """
        method = handler_call_details.method
        if POLICIES.get(method) is not Access.CREDENTIAL:
            return await continuation(handler_call_details)
        who = _digest(handler_call_details.invocation_metadata)
        self._enter(who)
        try:
            handler = await continuation(handler_call_details)
        finally:
            # Until its request has come, a call holds no place: it might never come.
            self._calls.leave(who)
        if handler is None:
            return None
        _WHO.set(who)
        return self._counting.of(method, handler)

    def _counted(self, _method: str, handler: "Handler") -> "Handler":
        serve = cast(Behaviour, handler.unary_unary)

        async def counted(request: Any, context: Context) -> Any:
            who = _WHO.get()
            self._enter(who)
            try:
                return await serve(request, context)
            finally:
                self._calls.leave(who)

        return grpc.unary_unary_rpc_method_handler(
            cast(Any, counted), handler.request_deserializer, handler.response_serializer
        )

    def _enter(self, who: int) -> None:
        if not self._calls.enter(who):
            self._refused(Limit.CREDENTIAL_CALLS)
            raise Overloaded.by(Limit.CREDENTIAL_CALLS.value)


def _digest(metadata: Metadata) -> int:
    # Python's own digest of a text, SipHash, whose key is random in each process. No token is kept.
    return hash(tuple(values_of(metadata, "authorization")))
