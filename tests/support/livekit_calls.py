"""A call that reaches the LiveKit double, and what may answer it: the seam between double and faults."""

from typing import Protocol

from aiohttp import hdrs, web
from google.protobuf.message import Message

from tests.support.livekit_answers import Answer


class Call(Protocol):
    """One request that waits for its answer."""

    @property
    def request(self) -> web.Request:
        """The HTTP request; its body is read already."""

    def answer(self) -> Answer:
        """What LiveKit would say, from the rooms as they are now."""

    def parsed(self, body: bytes) -> Message:
        """The answer's body as the message that this method answers with."""


class Fault(Protocol):
    """A way to answer a call."""

    async def send(self, call: Call) -> web.StreamResponse:
        """Sends an answer, or what passes for one."""


def respond(answer: Answer) -> web.Response:
    """An answer as it is."""
    return web.Response(
        status=answer.status,
        body=answer.body,
        headers={**answer.headers, hdrs.CONTENT_TYPE: answer.content_type},
    )
