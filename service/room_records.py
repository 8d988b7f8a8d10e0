"""Owns LiveKit's room records on the wire: how an answer is taken apart into them, and one is decoded.

Step before: `service.livekit` has the bytes of a `ListRoomsResponse`. Step after: `service.room_index` keeps
records that it has seen before from being decoded again.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, TypeVar, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from livekit.protocol.models import Room

from service.errors import LiveKitFailed, LiveKitRecordCorrupt

_Named = TypeVar("_Named")


def _message_of_records() -> Any:
    """A message with the wire form of `livekit.ListRoomsResponse` that leaves the rooms undecoded."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="room_records.proto", package="room_records")
    message = file.message_type.add(name="RoomRecords")
    message.field.add(name="rooms", number=1, type=field.TYPE_BYTES, label=field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("room_records.RoomRecords"))


_RoomRecords: Final = _message_of_records()


def room_records(body: bytes) -> Sequence[bytes]:
    """The records in the bytes of a `ListRoomsResponse`, each the bytes of one `livekit.Room`.

    Raises:
        LiveKitFailed: these are no such bytes.
    """
    try:
        return cast("Sequence[bytes]", _RoomRecords.FromString(body).rooms)
    except DecodeError as error:
        raise LiveKitFailed(f"ListRooms: {len(body)} bytes that are no ListRoomsResponse") from error


def decoded_room(record: bytes) -> Room:
    """The room of one record.

    Raises:
        LiveKitFailed: it is no `livekit.Room`.
    """
    try:
        return Room.FromString(record)
    except DecodeError as error:
        raise LiveKitRecordCorrupt(
            f"ListRooms: a record of {len(record)} bytes that is no Room; lists fail until it is gone: look "
            "for it in LiveKit's store (the hash `rooms` in Redis), and at what wrote it"
        ) from error


def by_asked_name(
    names: Collection[str], rooms: Iterable[_Named], name_of: Callable[[_Named], str]
) -> dict[str, _Named]:
    """Those of these rooms that were asked for, by name; what was not asked for is dropped.

    Raises:
        LiveKitFailed: two rooms of one name, of which nobody can say which one is meant.
    """
    wanted = names if isinstance(names, (set, dict)) else set(names)
    found: dict[str, _Named] = {}
    for room in rooms:
        name = name_of(room)
        if name not in wanted:
            continue
        if name in found:
            raise LiveKitFailed("ListRooms: one name, two rooms")
        found[name] = room
    return found
