"""Owns what one tenant may take of this process: its rate, and its share of the calls that are served.

An interceptor. Step before: `service.authentication` has named the caller. Step after: `service.audit`, then
`service.servicer`. Nothing here knows what is asked for, so no refusal can tell whether a room exists.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

import grpc

from common.fair_share import FairShare
from service.answer_space import SPACE
from service.auth.principal import Anonymous, Operator, Tenant, TenantId
from service.authentication import POLICIES, PRINCIPAL, Access, is_known_by_token_alone
from service.errors import Overloaded, RateLimited
from service.places import FairQueue, Limit
from service.rpc_types import Behaviour, Context, Continuation, Handler
from service.unsent_answers import UnsentAnswers
from service.wrapped_handlers import WrappedHandlers

_Caller = TenantId | Operator | Anonymous


class Rates(Protocol):
    """How many calls a tenant may make in a time: `common.rates`."""

    async def take(self, tenant_id: str, /) -> int | None:
        """Counts a call of this tenant. Seconds to wait if it is one too many, which then does not count."""
        ...


class TenantLimits(grpc.aio.ServerInterceptor):
    """Lets callers have their turns, and refuses those who are over their rate or their share.

    An operator has a share like a tenant, but no rate. All who present nothing are one.

    Args:
        most_calls: calls that are served or wait for their turn.
        most_each: of these, the calls of one tenant even when others make none; None is no such limit.
        most_running: calls that are served.
        rates: None where tenants may call as often as they like.
        refused: told of each refusal.
    """

    def __init__(
        self,
        most_calls: int,
        most_each: int | None,
        most_running: int,
        rates: Rates | None,
        refused: Callable[[Limit], None],
    ) -> None:
        self._calls: FairShare[_Caller] = FairShare(most_calls, most_each)
        self._running: FairQueue[_Caller] = FairQueue(most_running)
        self._rates = rates
        self._refused = refused
        self._unsent: UnsentAnswers[_Caller] = UnsentAnswers(refused)
        self._limiting = WrappedHandlers(self._limited)

    async def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Gives the rpc, which then runs when it is its caller's turn.

        Its calls raise Overloaded where the caller has too many of them, and RateLimited where too often.
        """
        handler = await continuation(handler_call_details)
        if handler is None or POLICIES[handler_call_details.method] is Access.PUBLIC:
            return handler
        return self._limiting.of(handler_call_details.method, handler)

    def _limited(self, _method: str, handler: "Handler") -> "Handler":
        serve = cast(Behaviour, handler.unary_unary)

        async def in_turn(request: Any, context: Context) -> Any:
            principal = PRINCIPAL.get()
            caller = principal.tenant_id if isinstance(principal, Tenant) else principal
            if not self._calls.enter(caller):
                self._refused(Limit.TENANT_CALLS)
                raise Overloaded.by(Limit.TENANT_CALLS.value)
            try:
                if self._rates is not None:
                    await self._check_rate(self._rates, caller)
                if SPACE.get(None) is None:  # a relayed call has it from its stream
                    SPACE.set(partial(self._unsent.keep, caller, context))
                if not self._running.enter(caller):
                    await self._wait(caller)
                try:
                    return await serve(request, context)
                finally:
                    self._running.leave(caller)
            finally:
                self._calls.leave(caller)

        return grpc.unary_unary_rpc_method_handler(
            cast(Any, in_turn), handler.request_deserializer, handler.response_serializer
        )

    async def _check_rate(self, rates: Rates, caller: _Caller) -> None:
        if isinstance(caller, str) and (seconds := await rates.take(caller)) is not None:
            self._refused(Limit.TENANT_RATE)
            raise RateLimited.for_seconds(seconds, holds_for_credential=is_known_by_token_alone())

    async def _wait(self, caller: _Caller) -> None:
        try:
            await self._running.wait(caller)
        except TimeoutError:
            self._refused(Limit.TENANT_CALLS)
            raise Overloaded.by(Limit.TENANT_CALLS.value) from None
