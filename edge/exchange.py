"""Owns one HTTP exchange: what the caller sends, whether it is still there, what it gets.

Before it: `asgi`, which makes one for each request. After it: Litestar sees the request without its body,
and every answer leaves through `send`, which adds what all answers carry.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, cast

from litestar.types import HTTPReceiveMessage, Message, Receive, Send
from litestar.types.asgi_types import HTTPRequestEvent

WATCH_AFTER_SECONDS: Final = 0.05
"""How long the work for a caller goes on before it is looked whether the caller is still there.

Looking takes a task, and a promise of the server's that crosses its threads: a fifth of what a short request
costs. Work that is done before that pays nothing, and cancelling it would spare nothing."""

_EMPTY_REQUEST: Final[HTTPRequestEvent] = {"type": "http.request", "body": b"", "more_body": False}


class CallerGoneError(Exception):
    """The caller has hung up; nobody is left to answer."""


class Exchange:
    """Both directions of one request and its answer.

    Args:
        receive: the server's.
        send: the server's.
        headers: header fields for the answer, in place of any of the same name.
        with_body: False for a HEAD, whose answer has the headers of a GET only.

    Attributes:
        started: the status has been sent; no other answer can be given any more.
        status: that status; 0 before.
    """

    def __init__(
        self, receive: Receive, send: Send, headers: Sequence[tuple[bytes, bytes]], *, with_body: bool
    ) -> None:
        self._receive = receive
        self._send = send
        self._headers = headers
        self._names = frozenset(name for name, _ in headers)
        self._with_body = with_body
        self._request_given = False
        self._finished = False
        self._gone = False
        self._over = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self.started = False
        self.status = 0

    async def skip_body(self, limit: int) -> bool:
        """Reads the request's body, which no route wants, and forgets it.

        Returns:
            Whether the body has at most `limit` bytes. Where it has more, the rest stays unread.

        Raises:
            CallerGoneError: the caller hung up before the end of the body.
        """
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise CallerGoneError
            size += len(message["body"])
            if size > limit:
                return False
            if not message["more_body"]:
                return True

    async def run(self, work: Awaitable[None]) -> None:
        """Runs what answers the request, and cancels it when the caller hangs up: the server does not.

        A caller that hangs up at once is noticed after `WATCH_AFTER_SECONDS`.

        Raises:
            CallerGoneError: the caller hung up before the end of the answer.
        """
        task = cast("asyncio.Task[None]", asyncio.current_task())
        start = asyncio.get_running_loop().call_later(WATCH_AFTER_SECONDS, self._start_watching, task)
        try:
            await work
        except asyncio.CancelledError:
            if self._gone and task.uncancel() == 0:
                raise CallerGoneError from None
            raise
        finally:
            start.cancel()
            if self._watch is not None:
                self._watch.cancel()
                # What it is cancelled by remembers its frame, and so this exchange: it would be a cycle.
                self._watch = None

    async def receive(self) -> HTTPReceiveMessage:
        """What the application may receive: an empty body, then, once the exchange is over, that it is."""
        if not self._request_given:
            self._request_given = True
            return _EMPTY_REQUEST
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Sends one message of the answer."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            kept = [field for field in message["headers"] if field[0] not in self._names]
            message["headers"] = [*kept, *self._headers]
        elif message["type"] == "http.response.body":
            self._finished = not message.get("more_body", False)
            if not self._with_body:
                message["body"] = b""
        await self._send(message)
        if self._finished:
            self._over.set()

    def _start_watching(self, work: "asyncio.Task[None]") -> None:
        self._watch = asyncio.create_task(self._cancel_when_gone(work))

    async def _cancel_when_gone(self, work: "asyncio.Task[None]") -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        # Servers say `http.disconnect` after a finished answer too.
        if not self._finished:
            self._gone = True
            self._over.set()
            work.cancel()
