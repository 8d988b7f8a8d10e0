"""Owns the handlers of the routes, as Litestar and the OpenAPI document know them.

Before it: Litestar; for the two routes of rooms `asgi` itself. After it: `rooms`.
"""

from typing import Final, cast

from litestar import get
from litestar.types import ASGIApp, Scope

from edge import errors
from edge.call import call_in
from edge.errors import Answer, Route
from edge.openapi import SECURITY, DocumentedOperation, home_responses, room_responses
from edge.paths import DETAILS_PATH, HOME_PATH, LIST_PATH, LIVE_PATH, READY_PATH
from edge.room_json import health_json
from edge.rooms import Rooms

ROOMS_STATE: Final = "rooms"
"""Where the application's state has the `Rooms` that the lifespan has made."""

READY_STATE: Final = "ready"
"""Where it has the function that tells whether callers can be answered."""


@get(
    HOME_PATH,
    operation_id="getStatus",
    operation_class=DocumentedOperation,
    summary="Whether the edge is up",
    description="Needs no credential and asks nobody else.",
    responses=home_responses(),
)
async def home() -> ASGIApp:
    """The edge is up."""
    return Answer(200, health_json())


@get(LIVE_PATH, include_in_schema=False)
async def live() -> ASGIApp:
    """This worker runs."""
    return Answer(200, health_json())


@get(READY_PATH, include_in_schema=False)
async def ready(scope: Scope) -> ASGIApp:
    """Whether callers should be sent here."""
    if scope["litestar_app"].state[READY_STATE]():
        return Answer(200, health_json())
    call_in(scope["state"]).seen.reason = errors.NOT_READY.reason
    return errors.NOT_READY


@get(
    LIST_PATH,
    operation_id="listRooms",
    operation_class=DocumentedOperation,
    summary="The rooms that the caller may see",
    description="All of them, sorted by name.",
    responses=room_responses(Route.LIST),
    security=SECURITY,
)
async def list_rooms(scope: Scope) -> ASGIApp:
    """All rooms of the caller."""
    return await _rooms(scope).list_rooms(call_in(scope["state"]))


@get(
    DETAILS_PATH,
    operation_id="getRoom",
    operation_class=DocumentedOperation,
    summary="One room with its participants",
    description="A room that does not exist, that belongs to another tenant or that has no owner gives one "
    "and the same 404.",
    responses=room_responses(Route.DETAILS),
    security=SECURITY,
)
async def room_details(scope: Scope) -> ASGIApp:
    """One room of the caller. Its name comes from the call; Litestar's path holds a placeholder."""
    return await _rooms(scope).room_details(call_in(scope["state"]))


def _rooms(scope: Scope) -> Rooms:
    return cast("Rooms", scope["litestar_app"].state[ROOMS_STATE])
