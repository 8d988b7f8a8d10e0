"""The typed asyncio client of the TenantRooms gRPC service.

    async with TenantRoomsClient("127.0.0.1:50051", token="…") as client:
        async for room in client.list_rooms():
            print(room.name)

Calls give the contract's own messages (`tenantrooms.v1`) and raise a `TenantRoomsError`.
"""

from tenantrooms_client.client import LARGEST_PAGE, TenantRoomsClient
from tenantrooms_client.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    TenantRoomsError,
    Unauthenticated,
    Unavailable,
)

__all__ = [
    "LARGEST_PAGE",
    "DeadlineExceeded",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "TenantRoomsClient",
    "TenantRoomsError",
    "Unauthenticated",
    "Unavailable",
]
