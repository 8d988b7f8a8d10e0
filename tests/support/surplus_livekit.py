"""A LiveKit, or a proxy before it, that gives answers nobody asked for, at a moment of the test's choice.

It knows room `a` of acme with participant `in-a`, and room `b` of globex with `in-b`.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from google.protobuf.message import Message
from livekit.protocol.models import ParticipantInfo, Room
from livekit.protocol.room import (
    ListParticipantsRequest,
    ListParticipantsResponse,
    ListRoomsRequest,
    ListRoomsResponse,
)

OWNERS: Final = {"a": "acme", "b": "globex"}

REQUEST_TIMEOUT: Final = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
"""What proxies say to an idle connection before they close it."""

_ROOMS: Final = [
    Room(name=name, sid=f"RM_{name}", metadata=f'{{"auth_id":"{owner}"}}') for name, owner in OWNERS.items()
]


class SurplusLiveKit:
    """The server.

    Args:
        marks: whether it repeats the header Origin as LiveKit does.

    Attributes:
        url: http://127.0.0.1:PORT, or https.
        requests: how many questions came.
        connections: how many connections were made.
        first: gives what goes out before the answer to a question, made of the connection's last answer.
        after: likewise for what goes out in the same piece as the answer, after it.
        then: likewise for what goes out in a piece of its own, right after the answer.
    """

    def __init__(self, marks: bool) -> None:
        self.url = ""
        self.requests = self.connections = 0
        self._marks = marks
        self._last: dict[asyncio.StreamWriter, bytes] = {}
        self.first: Callable[[bytes], bytes] = _nothing
        self.after: Callable[[bytes], bytes] = _nothing
        self.then: Callable[[bytes], bytes] = _nothing

    def repeat(self) -> None:
        """Sends each connection's last answer once more. They are in the kernel when this returns."""
        for writer, last in self._last.items():
            writer.write(last)

    def give_up_waiting(self) -> None:
        """Closes each connection as proxies close an idle one."""
        for writer in self._last:
            writer.write(REQUEST_TIMEOUT)
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(_header(head, b"content-length")))
                self.requests += 1
                surplus = self.first(self._last.get(writer, b""))
                if surplus:
                    writer.write(surplus)
                    await asyncio.sleep(0)  # so that it comes in a piece of its own
                answer = self._last[writer] = self._answer(head, body)
                writer.write(answer + self.after(answer))
                if then := self.then(answer):
                    writer.write(then)
        except (OSError, EOFError):
            pass
        finally:
            self._last.pop(writer, None)
            writer.close()

    def _answer(self, head: bytes, body: bytes) -> bytes:
        mark = b"Access-Control-Allow-Origin: " + _header(head, b"origin") + b"\r\n" if self._marks else b""
        content = _content(head.split()[1].rpartition(b"/")[2], body).SerializeToString()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\n%bContent-Length: %d\r\n\r\n%b" % (
            mark,
            len(content),
            content,
        )


@asynccontextmanager
async def surplus_livekit(
    marks: bool = True, tls: ssl.SSLContext | None = None
) -> AsyncIterator[SurplusLiveKit]:
    """A server that serves until the context ends; with TLS, if this context is given."""
    livekit = SurplusLiveKit(marks)
    server = await asyncio.start_server(livekit.serve, "127.0.0.1", 0, ssl=tls)
    livekit.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield livekit
    finally:
        server.close()


def _nothing(_: bytes) -> bytes:
    return b""


def _content(method: bytes, body: bytes) -> Message:
    if method == b"ListParticipants":
        room = ListParticipantsRequest.FromString(body).room
        return ListParticipantsResponse(participants=[ParticipantInfo(sid="PA_1", identity=f"in-{room}")])
    names = ListRoomsRequest.FromString(body).names
    return ListRoomsResponse(rooms=[room for room in _ROOMS if not names or room.name in names])


def _header(head: bytes, name: bytes) -> bytes:
    return head[head.lower().index(name + b": ") :].split(b"\r\n")[0].partition(b": ")[2]
