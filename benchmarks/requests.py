"""Owns what one caller sends and which answer is right.

Step before: `benchmarks.plan` names the load. Step after: `benchmarks.callers` and `benchmarks.wrk` send it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import quote

from livekit.protocol.room import ListRoomsResponse

from benchmarks.layout import CREATED, Store, secret_of
from benchmarks.plan import Kind, Load, Protocol
from tenantrooms.v1 import tenant_rooms_pb2 as pb
from tenantrooms_client import LARGEST_PAGE

__all__ = ["PARTICIPANTS", "Request", "requests_of", "scan_request"]

PARTICIPANTS: Final = 2
"""How many are in each room whose details are asked for."""

DISTINCT_ROOMS: Final = 100
POLLED_ROOMS: Final = 2


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and what a right answer holds.

    Attributes:
        token: the caller's credential.
        names: the rooms of the list that is right, sorted; for details, the one room.
        details: whether it is that room's details that are asked for.
        rooms: for a bare scan, how many rooms there are; else 0.
    """

    token: str
    names: tuple[str, ...] = ()
    details: bool = False
    rooms: int = 0

    @classmethod
    def from_mapping(cls, fields: Mapping[str, Any]) -> "Request":
        """The request that `to_mapping` wrote."""
        return cls(**{**fields, "names": tuple(fields["names"])})

    def to_mapping(self) -> dict[str, Any]:
        """This request as JSON's own types."""
        return asdict(self)

    def rest_path(self) -> str:
        """The path of the REST request."""
        return f"/livekit/rooms/{quote(self.names[0], safe='')}" if self.details else "/livekit/rooms"

    def http(self, protocol: Protocol, host: str) -> bytes:
        """The whole HTTP/1.1 request."""
        if protocol is Protocol.TWIRP:
            start = "POST /twirp/livekit.RoomService/ListRooms HTTP/1.1"
            more = "Content-Type: application/protobuf\r\nContent-Length: 0\r\n"
        else:
            start, more = f"GET {self.rest_path()} HTTP/1.1", ""
        return f"{start}\r\nHost: {host}\r\nAuthorization: Bearer {self.token}\r\n{more}\r\n".encode()

    def grpc_method(self) -> str:
        """The full name of the rpc."""
        return "/tenantrooms.v1.TenantRooms/" + ("GetRoom" if self.details else "ListRooms")

    def grpc_message(self) -> bytes:
        """The encoded request; it asks for as large a page as the edge does."""
        if self.details:
            return pb.GetRoomRequest(room_name=self.names[0]).SerializeToString()
        return pb.ListRoomsRequest(page_size=LARGEST_PAGE).SerializeToString()

    def is_right(self, protocol: Protocol, body: bytes) -> bool:
        """Whether this is the body of the right answer; raises ValueError, or DecodeError, for rubbish."""
        match protocol:
            case Protocol.TWIRP:
                return len(ListRoomsResponse.FromString(body).rooms) == self.rooms
            case Protocol.REST:
                return self._is_right_json(json.loads(body))
            case Protocol.GRPC:
                return self._is_right_message(body)

    def _is_right_json(self, answer: Any) -> bool:
        if self.details:
            facts = (answer["name"], answer["num_participants"], answer["creation_time"])
            identities = [one["identity"] for one in answer["participants"]]
            return facts == (*self.names, PARTICIPANTS, CREATED) and len(identities) == PARTICIPANTS
        return bool(
            answer
            == {
                "rooms": [
                    {"name": name, "num_participants": PARTICIPANTS, "creation_time": CREATED}
                    for name in self.names
                ]
            }
        )

    def _is_right_message(self, body: bytes) -> bool:
        if self.details:
            details = pb.GetRoomResponse.FromString(body)
            facts = (details.room.name, details.room.num_participants, details.room.creation_time.seconds)
            return facts == (*self.names, PARTICIPANTS, CREATED) and len(details.participants) == PARTICIPANTS
        page = pb.ListRoomsResponse.FromString(body)
        facts_of_all = [(room.name, room.num_participants, room.creation_time.seconds) for room in page.rooms]
        return not page.next_page_token and facts_of_all == [
            (name, PARTICIPANTS, CREATED) for name in self.names
        ]


def requests_of(load: Load) -> list[Request]:
    """What the callers of this load send, in turn."""
    store = load.store
    match load.kind:
        case Kind.LIST:
            return [
                Request(secret_of(tenant), tuple(store.names_of(tenant))) for tenant in range(load.tenants)
            ]
        case Kind.DISTINCT:
            return _details(store, DISTINCT_ROOMS)
        case Kind.POLLED:
            return _details(store, POLLED_ROOMS)


def scan_request(store: Store, token: str) -> Request:
    """The bare Twirp call, with a token for LiveKit itself."""
    return Request(token, rooms=store.rooms)


def _details(store: Store, count: int) -> list[Request]:
    owners = {number: store.tenant_of(number) for number in range(count)}
    return [
        Request(secret_of(tenant), (store.name_of(number),), details=True)
        for number, tenant in owners.items()
        if tenant is not None
    ]
