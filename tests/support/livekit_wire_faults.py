"""Ways in which the LiveKit double can break an answer on the wire: slow, cut off, reset, without end.

A test takes them from `livekit_faults`, where the others are, and hands them to `LiveKitDouble.script`.
"""

import asyncio
import socket
import struct
import zlib
from dataclasses import dataclass

from aiohttp import hdrs, web

from tests.support.livekit_answers import PROTOBUF, Answer
from tests.support.livekit_calls import Call


@dataclass(frozen=True)
class Trickle:
    """The right answer, a byte at a time; an empty one ends broken off."""

    seconds_per_byte: float = 1.0

    async def send(self, call: Call) -> web.StreamResponse:
        answer = call.answer()
        response = await _begin(call, answer)
        for index in range(len(answer.body)):
            await response.write(answer.body[index : index + 1])
            await asyncio.sleep(self.seconds_per_byte)
        if not answer.body:
            _transport(call).close()
        return response


@dataclass(frozen=True)
class Truncate:
    """The right answer's head, part of its body, and then the end of the connection."""

    share: float = 0.5

    async def send(self, call: Call) -> web.StreamResponse:
        answer = call.answer()
        response = await _begin(call, answer)
        await response.write(answer.body[: int(len(answer.body) * self.share)])
        _transport(call).close()
        return response


@dataclass(frozen=True)
class Reset:
    """A connection reset: after part of the right answer's body, or before any byte when share is None."""

    share: float | None = 0.5

    async def send(self, call: Call) -> web.StreamResponse:
        transport = _transport(call)
        response = web.StreamResponse()
        if self.share is not None:
            answer = call.answer()
            response = await _begin(call, answer)
            await response.write(answer.body[: int(len(answer.body) * self.share)])
        # With no time to linger, closing sends RST in the place of FIN.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        return response


@dataclass(frozen=True)
class EndlessBody:
    """A body without an end. It does end, at `limit` bytes, so that no test can fill a machine."""

    chunk: bytes = b"\x0a\x00" * 32_768
    limit: int = 2**30

    async def send(self, call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: PROTOBUF})
        await response.prepare(call.request)
        sent = 0
        while sent < self.limit:
            await response.write(self.chunk)
            sent += len(self.chunk)
        return response


@dataclass(frozen=True)
class GzipBomb:
    """A small gzip body that unpacks into a valid, empty list of `unpacked` bytes or more."""

    unpacked: int = 2**29

    async def send(self, call: Call) -> web.StreamResponse:
        bomb = await asyncio.to_thread(_bomb, self.unpacked)
        headers = {hdrs.CONTENT_TYPE: PROTOBUF, hdrs.CONTENT_ENCODING: "gzip"}
        return web.Response(body=bomb, headers=headers)


def _bomb(unpacked: int) -> bytes:
    # Field 15 of the answer is unknown, so a reader skips it; its content packs to a thousandth.
    block = b"\x7a\x80\x80\x40" + bytes(2**20)
    repetitions = -(-unpacked // len(block))
    # A full flush ends a piece that refers to nothing before it, so the piece can simply be repeated.
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    piece = compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(repetitions):
        checksum = zlib.crc32(block, checksum)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    tail = struct.pack("<II", checksum, len(block) * repetitions % 2**32)
    return head + piece * repetitions + compressor.flush() + tail


async def _begin(call: Call, answer: Answer) -> web.StreamResponse:
    headers = {**answer.headers, hdrs.CONTENT_TYPE: answer.content_type}
    response = web.StreamResponse(status=answer.status, headers=headers)
    # An empty body could not be broken.
    response.content_length = max(1, len(answer.body))
    await response.prepare(call.request)
    return response


def _transport(call: Call) -> asyncio.Transport:
    transport = call.request.transport
    if not isinstance(transport, asyncio.Transport):
        raise ConnectionResetError("the caller has left")
    return transport
