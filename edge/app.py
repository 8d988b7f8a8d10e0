"""Owns the wiring of the edge: the Litestar application, its routes, and what surrounds it.

Before it: `worker`, or a test with a client of its own. After it: `asgi` for each request.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from litestar import Litestar, MediaType, Request, Response
from litestar.exceptions import HTTPException

from common.rates import open_rates
from edge import errors
from edge.admission import Admission, Limit
from edge.asgi import Edge
from edge.call import call_in
from edge.client_address import ClientAddresses
from edge.cors import Cors
from edge.docs import ASSETS, assets_router, docs_config
from edge.errors import Answer
from edge.logs import log_unexpected
from edge.paths import DETAILS_PLACEHOLDER, LIST_PATH
from edge.rooms import Rooms, RoomsClient
from edge.routes import READY_STATE, ROOMS_STATE, home, list_rooms, live, room_details
from edge.routes import ready as ready_route
from edge.settings import EdgeSettings
from edge.watch import RequestWatch


def create_app(
    settings: EdgeSettings,
    open_client: Callable[[], AbstractAsyncContextManager[RoomsClient]],
    *,
    leaves: Callable[[], bool] = lambda: False,
    refused: Callable[[Limit], None] = lambda _: None,
    rate_store_asked: Callable[[bool], None] = lambda _: None,
    ready: Callable[[], bool] = lambda: False,
    watch: RequestWatch | None = None,
) -> Edge:
    """The application.

    Args:
        settings: how it behaves.
        open_client: makes the client of the service; called, entered and left by the lifespan.
        ready: whether the service can answer callers.
        leaves: whether this process is about to end, so that clients should use another connection.
        refused: told of each request that is over a limit of calls.
        rate_store_asked: told of each question to the Redis that counts requests whether it was answered.
        watch: is told of each request.
    """
    admission = Admission(
        settings.call_limits,
        ClientAddresses(settings.trusted_proxies, settings.client_address_header),
        refused,
    )

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with open_client() as client, AsyncExitStack() as stack:
            if settings.anonymous_rates:
                setting = "TENANTROOMS_EDGE_RATE_STORE_URL"
                rates = open_rates(settings.anonymous_rates, settings.rate_store, setting, rate_store_asked)
                admission.rates = await stack.enter_async_context(rates)
            app.state[ROOMS_STATE] = Rooms(
                client,
                settings.timeout_seconds,
                forward_headers=settings.forward_headers,
                over_rate=admission.over_rate,
            )
            app.state[READY_STATE] = lambda: ready() and not leaves()
            yield

    app = Litestar(
        [home, live, ready_route, list_rooms, room_details, assets_router()],
        lifespan=[lifespan],
        openapi_config=docs_config(),
        exception_handlers={HTTPException: _refused, Exception: _failed},
        debug=False,
        pdb_on_exception=False,
        logging_config=None,
    )
    return Edge(
        app,
        assets=ASSETS,
        limits=settings.limits,
        cors=Cors(settings.cors_origins),
        admission=admission,
        watch=watch,
        leaves=leaves,
        # What Litestar does between its door and these two costs more than all that the edge itself does.
        handlers={LIST_PATH: list_rooms.fn, DETAILS_PLACEHOLDER: room_details.fn},
    )


def _refused(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    # `Edge` lets only known routes and methods through; what is left is what Litestar finds malformed.
    if error.status_code < 500:
        return _response(errors.BAD_REQUEST, request)
    return _failed(request, error)


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log_unexpected(error, call_in(request.scope["state"]).request_id)
    return _response(errors.UNEXPECTED, request)


def _response(answer: Answer, request: Request[Any, Any, Any]) -> Response[bytes]:
    call_in(request.scope["state"]).seen.reason = answer.reason
    return Response(answer.body, status_code=answer.status, media_type=MediaType.JSON)
