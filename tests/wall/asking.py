"""Asks for one room over each door, as a tenant or as an operator on a tenant's behalf."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import aiohttp

from tenantrooms_client import NotFound
from tests.end_to_end.callers import ACME, GLOBEX, OPERATOR, Callers
from tests.wall.lives import Details, details_in, details_of

ACME_ID, GLOBEX_ID = "acme", "globex"
RIVAL = {ACME_ID: GLOBEX_ID, GLOBEX_ID: ACME_ID}
SECRET = {ACME_ID: ACME, GLOBEX_ID: GLOBEX}

Ask = Callable[[str, str], Awaitable[Details | None]]
"""Gives the details of a room, by its name, to a tenant; None when it is masked."""


def doors(callers: Callers, session: aiohttp.ClientSession) -> dict[str, Ask]:
    """The ways to ask."""

    async def over_grpc(name: str, tenant: str) -> Details | None:
        try:
            return details_of(await callers.grpc.get_room(name, token=SECRET[tenant]))
        except NotFound:
            return None

    async def on_behalf(name: str, tenant: str) -> Details | None:
        try:
            return details_of(await callers.grpc.get_room(name, token=OPERATOR, tenant_id=tenant))
        except NotFound:
            return None

    async def over_rest(name: str, tenant: str) -> Details | None:
        url = f"{callers.stack.url}/livekit/rooms/{quote(name, safe='')}"
        async with session.get(url, headers={"Authorization": f"Bearer {SECRET[tenant]}"}) as answer:
            if answer.status == 404:
                return None
            assert answer.status == 200, answer
            return details_in(await answer.read())

    return {"gRPC": over_grpc, "REST": over_rest, "gRPC, an operator for the tenant": on_behalf}
