"""Marks that tell whose a room and its participants are, and which life of a room they belong to."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from livekit.protocol import models

from tenantrooms.v1 import tenant_rooms_pb2 as pb

_MARK = re.compile(r"mark\.([a-z0-9-]+)\.mark")


def mark(tenant: str) -> str:
    """A text that appears only in what belongs to this tenant."""
    return f"mark.{tenant}.mark"


def marks_in(text: str) -> set[str]:
    """The tenants whose marks this text holds."""
    return set(_MARK.findall(text))


def owned_by(tenant: str) -> str:
    """Metadata that gives a room to this tenant, and is marked as theirs."""
    return json.dumps({"auth_id": tenant, "topic": mark(tenant)})


def people_of(tenant: str, life: str, count: int = 2) -> list[models.ParticipantInfo]:
    """Participants who joined while the room was this tenant's, in this life of it; marked throughout."""
    return [
        models.ParticipantInfo(
            sid=f"PA_{life}_{number}",
            identity=f"{mark(tenant)} {number}",
            name=mark(tenant),
            metadata=json.dumps({"life": life, "of": mark(tenant)}),
            attributes={"of": mark(tenant)},
            state=models.ParticipantInfo.State.ACTIVE,
        )
        for number in range(count)
    ]


@dataclass(frozen=True)
class Details:
    """What an answer about one room shows, over either door."""

    sid: str
    name: str
    text: str
    """The whole answer."""
    lives: frozenset[str]
    """The lives that its participants say they are of."""
    people: int


def details_of(answer: pb.GetRoomResponse) -> Details:
    """What gRPC shows."""
    people = [one.metadata for one in answer.participants]
    return Details(answer.room.sid, answer.room.name, str(answer), _lives(people), len(people))


def details_in(body: bytes) -> Details:
    """What REST shows."""
    room = json.loads(body)
    people = [one["metadata"] for one in room["participants"]]
    return Details(room["sid"], room["name"], body.decode(), _lives(people), len(people))


def foreign_marks(details: Details, tenant: str) -> set[str]:
    """The other tenants whose marks an answer to this one holds."""
    return marks_in(details.text) - {tenant}


def _lives(metadata: Collection[str]) -> frozenset[str]:
    return frozenset(json.loads(text)["life"] for text in metadata if text)
