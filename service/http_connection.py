"""Owns one HTTP/1.1 connection: it writes a request, and reads one whole answer within its bounds.

Step before: `service.livekit_transport` keeps a few of these. httptools, the parser that Node.js uses, reads
the answers. There are no redirects, cookies, proxies or encodings here to be turned off.

HTTP/1.1 says of no answer which request it is for. So each request has a mark of its own in its header
`Origin`, which LiveKit, as CORS wants it, writes into its answer's `Access-Control-Allow-Origin`.
"""

import asyncio
import select
from http import HTTPStatus
from typing import Final, NamedTuple, cast

import httptools

from service.upstream_http import AnswerEncoded, AnswerTooLarge

_MOST_HEAD_BYTES: Final = 64 * 1024
"""Bytes of an answer that are not its body."""

# The statuses whose answers say something of a room. Others are failures, also of proxies themselves.
_BELIEVED: Final = frozenset({HTTPStatus.OK, HTTPStatus.NOT_FOUND})

_ANY_MARK: Final = b".tenantrooms.invalid"


def mark_of(number: int, process: str) -> str:
    """The mark of a request, as its header `Origin` has it: an origin that is nobody's (RFC 2606).

    Args:
        number: which request of this process it is.
        process: tells processes apart, as a proxy may send several of them the wrong answers.
    """
    return f"http://{number:x}-{process}.tenantrooms.invalid"


class HttpAnswer(NamedTuple):
    """A whole answer: the status, the bare media type in lower case, the body, and the header `Date`.

    Attributes:
        marked: whether it bears the mark of its request, and so is the answer to it.
    """

    status: int
    media_type: str
    body: bytes
    date: str = ""
    marked: bool = False


class NoAnswer(Exception):
    """The connection ended before the head of an answer had come."""


class AnswerBroken(Exception):
    """What came is no HTTP answer, or broke off."""


class AnswerForeign(Exception):
    """What came is the answer to another request."""


class HttpConnection(asyncio.Protocol):
    """One connection, for one request at a time.

    Args:
        most_bytes: the largest body that is read.

    Attributes:
        usable: whether it takes a request: it is open, and the last answer was read to its end, no further.
        marks: whether an answer here bore its request's mark, so that one without is not believed any more.
    """

    def __init__(self, most_bytes: int) -> None:
        self.usable = False
        self.marks = False
        self._most_bytes = most_bytes
        self._transport: asyncio.Transport | None = None
        self._reading: _Reading | None = None
        self._arrivals = select.poll()

    @property
    def quiet(self) -> bool:
        """Whether it is usable, and nothing has come that the event loop has yet to read, nor its end."""
        return self.usable and not self._closing and not self._arrivals.poll(0)

    async def exchange(self, request: bytes, mark: bytes) -> HttpAnswer:
        """The answer to these bytes, which are one whole request with this mark. Needs a usable connection.

        A call that is cancelled closes the connection.

        Raises:
            NoAnswer, AnswerBroken, AnswerEncoded, AnswerForeign, AnswerTooLarge: see there.
        """
        assert self._transport is not None  # noqa: S101 (it is usable)
        self.usable = False
        self._reading = reading = _Reading(self._most_bytes, mark, self.marks)
        self._transport.write(request)
        try:
            answer = await reading.read
        except BaseException:
            self.close()
            raise
        finally:
            self._reading = None
            reading.let_go()
        if reading.last:
            self.close()
        else:
            self.usable = not self._closing
        self.marks = self.marks or answer.marked
        return answer

    def close(self) -> None:
        """Ends it at once."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def _closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not of that class
        self._arrivals.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._reading is None:
            self.close()  # nobody has asked
        else:
            self._reading.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.usable = False
        if self._reading is not None:
            self._reading.end()


class _Reading:
    """One answer that is coming in; the methods named on_… are httptools' callbacks.

    Attributes:
        read: the whole answer, or why there is none.
        last: whether the connection is at its end with it.
    """

    def __init__(self, most_bytes: int, mark: bytes, needs_mark: bool) -> None:
        self.read: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self.last = True
        self._most_bytes = most_bytes
        self._mark, self._needs_mark = mark, needs_mark
        self._marked = self._foreign = False
        self._parser = httptools.HttpResponseParser(self)
        self._came = 0
        self._status = 0
        self._media_type = self._encoding = self._date = ""
        self._declared = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    def take(self, data: bytes) -> None:
        """Reads on."""
        if self.read.done():
            self.last = True  # more than the answer: whose that is cannot be known
            return
        self._came += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.last = True
            # Its text quotes nothing that came, but says no more than its kind either.
            self._fail(AnswerBroken(f"not HTTP: {type(error).__name__}"))
        # The parser holds a header until it is complete, and a chunk may have any number of them after it.
        if self._came - self._body_bytes > _MOST_HEAD_BYTES + self._body_bytes:
            self._fail(AnswerTooLarge())

    def let_go(self) -> None:
        """Nobody reads on. Parts it from its parser: they hold each other, and with them a large answer."""
        self._body.clear()
        del self._parser

    def end(self) -> None:
        """Nothing more comes."""
        self.last = True
        self._fail(AnswerBroken("it broke off") if self._status else NoAnswer())

    def on_message_begin(self) -> None:
        if self.read.done():
            self.last = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:
            return  # after the body
        match name.lower():
            case b"content-type":
                self._media_type = value.partition(b";")[0].strip().lower().decode("latin-1")
            case b"content-encoding" if value != b"identity":
                self._encoding = "some"
            case b"date":
                self._date = value.decode("latin-1")
            case b"content-length":
                self._declared = int(value)
            case b"access-control-allow-origin":
                if value == self._mark:
                    self._marked = True
                elif value.endswith(_ANY_MARK):
                    self._foreign = True

    def on_headers_complete(self) -> None:
        if self.read.done():
            return
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer; the real one follows
            self._media_type = self._encoding = ""
            self._declared = 0
            self._marked = False
            return
        self._status = status
        unproved = self._needs_mark and not self._marked and status in _BELIEVED
        if self._foreign or unproved:
            self._fail(AnswerForeign())
        elif self._encoding:
            self._fail(AnswerEncoded())
        elif self._declared > self._most_bytes:
            self._fail(AnswerTooLarge())

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        if self._body_bytes > self._most_bytes:
            self._body.clear()
            self._fail(AnswerTooLarge())
        elif not self.read.done():
            self._body.append(part)

    def on_message_complete(self) -> None:
        if self._status and not self.read.done():
            self.last = not self._parser.should_keep_alive()
            self.read.set_result(
                HttpAnswer(self._status, self._media_type, b"".join(self._body), self._date, self._marked)
            )

    def _fail(self, error: Exception) -> None:
        if not self.read.done():
            self.read.set_exception(error)
