"""Reports a caller's rooms and who is in them: an internal service that calls TenantRooms, in one file.

    TENANTROOMS_TOKEN=… python docs/examples/room_report.py 127.0.0.1:50051

With an operator's token it reports all rooms, or with `--tenant acme` what that tenant sees. The token comes
from the environment, because other users of the machine can read a process's arguments.

Exit status: 0, 1 when the question was wrong or refused, 75 when it is worth asking again later.
"""

import argparse
import asyncio
import os
import sys

from tenantrooms.v1.error_reason_pb2 import ErrorReason
from tenantrooms_client import NotFound, TenantRoomsClient, TenantRoomsError, Unavailable

EXIT_REFUSED = 1
EXIT_TRY_LATER = 75

WHAT_TO_DO = {
    ErrorReason.CREDENTIAL_MISSING: "Set TENANTROOMS_TOKEN.",
    ErrorReason.CREDENTIAL_MALFORMED: "TENANTROOMS_TOKEN is not a token.",
    ErrorReason.CREDENTIAL_REJECTED: "TENANTROOMS_TOKEN is not accepted: ask for a new one.",
    ErrorReason.OPERATOR_ONLY: "Leave out --tenant: only an operator may act for another tenant.",
    ErrorReason.LIVEKIT_NOT_CONFIGURED: "The service has no LiveKit credentials: its operator must set them.",
    ErrorReason.LIVEKIT_UNAVAILABLE: "LiveKit is away: try again later.",
    ErrorReason.LIVEKIT_FAILED: "LiveKit failed: tell the operator the request id.",
}


async def report(client: TenantRoomsClient, tenant: str | None) -> None:
    """Prints each room and its participants."""
    async for room in client.list_rooms(tenant_id=tenant):
        try:
            details = await client.get_room(room.name, tenant_id=tenant)
        except NotFound:
            continue  # closed, or given to another tenant, since it was listed
        created = details.room.creation_time.ToJsonString()
        print(f"{room.name}: {len(details.participants)} present, created {created}")
        for participant in details.participants:
            publishes = ", publishes" if participant.is_publisher else ""
            print(f"  {participant.identity} ({participant.name or 'no name'}{publishes})")


def what_to_do(error: TenantRoomsError) -> str:
    """A sentence for the person who runs this, chosen by the error's reason."""
    try:
        return WHAT_TO_DO[ErrorReason.Value(error.reason or "")]
    except (ValueError, KeyError):  # a reason newer than this program, or an error that has none
        if isinstance(error, Unavailable):
            return "The service cannot be reached: try again later."
        return "This was not expected."


async def main() -> int:
    """Reads the arguments, reports, and gives the exit status."""
    parser = argparse.ArgumentParser(description="Reports the rooms that a caller of TenantRooms may see.")
    parser.add_argument("target", help="host:port or unix:path of the service")
    parser.add_argument("--tenant", help="the tenant to act for (operators only)")
    options = parser.parse_args()
    token = os.environ.get("TENANTROOMS_TOKEN")

    async with TenantRoomsClient(options.target, token=token, timeout=10) as client:
        try:
            await report(client, options.tenant)
        except TenantRoomsError as error:
            print(f"{what_to_do(error)}\n{error}", file=sys.stderr)
            try_later = error.reason == "LIVEKIT_UNAVAILABLE" or isinstance(error, Unavailable)
            return EXIT_TRY_LATER if try_later else EXIT_REFUSED
        except ValueError as error:  # found before anything was sent
            print(f"TENANTROOMS_TOKEN: {error}", file=sys.stderr)
            return EXIT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
