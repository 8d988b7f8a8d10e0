"""Prints the rooms that no tenant sees, each with the reason: for an operator, in one file.

    TENANTROOMS_TOKEN=… python docs/examples/ownerless_rooms.py 127.0.0.1:50051

The rooms come from TenantRooms, so the token must be an operator's. The reasons come from the service's own
rule, so this runs in a clone of the project.
"""

import asyncio
import os
import sys

from service.ownership import Ownerless, owner_of
from tenantrooms_client import NotFound, TenantRoomsClient, TenantRoomsError


async def main(target: str) -> None:
    """Looks at each room's metadata, which is in its details alone."""
    async with TenantRoomsClient(target, token=os.environ["TENANTROOMS_TOKEN"], timeout=10) as client:
        async for listed in client.list_rooms():
            try:
                room = (await client.get_room(listed.name)).room
            except NotFound:
                continue  # closed since it was listed
            owner = owner_of(room.metadata)
            if isinstance(owner, Ownerless):
                print(f"{owner.value:22}{room.name!r}  {room.metadata[:100]!r}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or "TENANTROOMS_TOKEN" not in os.environ:
        sys.exit("Give the service's host:port, and an operator's token in TENANTROOMS_TOKEN.")
    try:
        asyncio.run(main(sys.argv[1]))
    except TenantRoomsError as error:
        sys.exit(str(error))
