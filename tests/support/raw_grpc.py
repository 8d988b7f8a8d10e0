"""A gRPC call with metadata that no gRPC client would send: any bytes, written by hand in HTTP/2 frames."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from grpc import StatusCode

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 7, 9
_END_STREAM, _END_HEADERS = 1, 4
_FRAME_BYTES = 16_384
_INITIAL_WINDOW_SIZE = 4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_CODES: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}


@dataclass(frozen=True)
class RawAnswer:
    """What came back.

    Attributes:
        code: the status; None when the stream or the connection was closed without one.
        content: all that came, as it came.
    """

    code: StatusCode | None
    content: bytes


async def raw_call(
    address: str, rpc: str, metadata: Iterable[tuple[bytes, bytes]], request: bytes = b""
) -> RawAnswer:
    """Calls a unary rpc over a connection of its own.

    Args:
        address: host:port.
        rpc: /package.Service/Method.
        metadata: sent after what gRPC itself needs, exactly as it is.
        request: the encoded message.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _call(1, rpc, metadata, request))
        return await _answer(reader)
    finally:
        writer.close()


@asynccontextmanager
async def unread_calls(
    path: str, rpc: str, metadata: Iterable[tuple[bytes, bytes]], count: int
) -> AsyncIterator[asyncio.StreamReader]:
    """So many calls on one connection whose client takes not a byte of their answers (RFC 9113, 6.9.2).

    What the server may send all the same, as the headers of failures, can be read from what is given.

    Args:
        path: of a Unix socket.
        rpc: as for `raw_call`; the requests are empty messages.
        metadata: likewise.
        count: of calls.
    """
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, 0)))
        for number in range(count):
            writer.write(_call(2 * number + 1, rpc, list(metadata), b""))
        yield reader
    finally:
        writer.close()


def _call(stream: int, rpc: str, metadata: Iterable[tuple[bytes, bytes]], request: bytes) -> bytes:
    fields = [
        *((b":method", b"POST"), (b":scheme", b"http"), (b":path", rpc.encode()), (b":authority", b"a.test")),
        *((b"content-type", b"application/grpc"), (b"te", b"trailers")),
        *metadata,
    ]
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in fields)
    frames = b""
    for start in range(0, len(block), _FRAME_BYTES):
        kind = _HEADERS if start == 0 else _CONTINUATION
        last = _END_HEADERS if start + _FRAME_BYTES >= len(block) else 0
        frames += _frame(kind, last, stream, block[start : start + _FRAME_BYTES])
    return frames + _frame(_DATA, _END_STREAM, stream, struct.pack(">BI", 0, len(request)) + request)


async def _answer(reader: asyncio.StreamReader) -> RawAnswer:
    content = b""
    headers = b""
    try:
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3]))
            kind, flags = head[3], head[4]
            content += payload
            if kind == _HEADERS:
                headers += payload
            if kind in (_RST_STREAM, _GOAWAY) or (kind == _HEADERS and flags & _END_STREAM):
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    # gRPC's core writes its trailers as plain literals.
    status = re.search(rb"grpc-status[\x01\x02](\d{1,2})", headers)
    return RawAnswer(_CODES[int(status[1])] if status else None, content)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def _text(text: bytes) -> bytes:
    """A string of HPACK (RFC 7541): its length in seven bits and more, and itself."""
    size = len(text)
    if size < 127:
        return bytes([size]) + text
    length = [127]
    size -= 127
    while size >= 128:
        length.append(size % 128 | 128)
        size //= 128
    return bytes([*length, size]) + text
