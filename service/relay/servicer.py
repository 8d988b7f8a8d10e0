"""Owns the relay's rpc: who may open a stream, how many there are, and that they end when the service stops.

Step before: `service.error_boundary`, as for every rpc. Step after: `service.relay.stream`. A stream needs no
credential and has no rights; each call on it authenticates by itself (docs/adr/0012).
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import grpc

from service.client_address import ClientAddresses
from service.relay.calls import RelayedCalls
from service.relay.outbox import Space
from service.relay.stream import Stream
from tenantrooms.relay.v1 import relay_pb2 as pb
from tenantrooms.relay.v1.relay_pb2_grpc import RelayServicer

MOST_STREAMS: Final = 256
"""Streams at a time. Each worker of an edge has one, and two for a moment when it changes over; one that gets
none makes unary calls."""

MOST_STREAMS_OF_A_PEER: Final = 128
"""Streams from one address, or /64 of IPv6, so that one cannot take all. The edge has at most 64 workers."""


class Relay(RelayServicer):
    """The rpc of `tenantrooms.relay.v1.Relay`.

    Args:
        calls: serves what comes on the streams.
        stream_seconds: how long one stream takes calls; None is for as long as the edge likes.
    """

    def __init__(self, calls: RelayedCalls, stream_seconds: float | None = None) -> None:
        self._calls = calls
        self._stream_seconds = stream_seconds
        self._streams: dict[Stream, str] = {}  # with the clients that they come from
        self._addresses = ClientAddresses(())
        self._space = Space()
        self._leaving = False

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    @property
    def calls(self) -> int:
        """How many calls on them are not wholly answered."""
        return sum(stream.calls for stream in list(self._streams))

    def leave(self) -> None:
        """From now on there are no new streams; those that there are end as soon as all is answered."""
        self._leaving = True
        for stream in self._streams:
            stream.leave()

    async def Exchange(
        self,
        request_iterator: AsyncIterator[pb.ExchangeRequest],
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> AsyncIterator[pb.ExchangeResponse]:
        """One stream."""
        if self._leaving:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "The service is stopping")
        client = self._addresses.of((), context.peer())
        clients = list(self._streams.values())
        if len(clients) >= MOST_STREAMS or clients.count(client) >= MOST_STREAMS_OF_A_PEER:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many streams")
        stream = Stream(self._calls, context, self._stream_seconds, self._space)
        self._streams[stream] = client
        try:
            async with aclosing(stream.frames(request_iterator)) as frames:
                async for frame in frames:
                    yield frame
        finally:
            del self._streams[stream]
