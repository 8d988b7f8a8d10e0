"""Owns what has to happen around Litestar for every request.

Routing on the raw path, limits, methods, request ids, the headers that all answers carry, an end to work
that nobody waits for, and a JSON 500 for whatever was not foreseen.
Before it: granian. After it: Litestar, with a plain path, no body and no `api_key`; or, where there is
nothing for Litestar to do, the very function that it would call.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final, TypeAlias

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from common.request_ids import chosen_request_id
from edge import errors
from edge.admission import Admission
from edge.call import Call, state_with
from edge.cors import Cors
from edge.credentials import read_credential, without_api_key
from edge.errors import Answer
from edge.exchange import CallerGoneError, Exchange
from edge.fields import Fields
from edge.logs import log_unexpected
from edge.paths import PathNotUtf8Error, Target, find_target
from edge.settings import Limits
from edge.watch import GONE, RequestWatch, Seen

ALLOW: Final = "GET, HEAD, OPTIONS"
_NO_CONTENT: Final = Answer(204, b"", (("Allow", ALLOW),))
_METHOD_NOT_ALLOWED: Final = errors.method_not_allowed(ALLOW)

Handler: TypeAlias = Callable[[Scope], Awaitable[ASGIApp]]
"""The function of a Litestar handler that takes the scope, and gives a finished answer."""


class Edge:
    """The outermost ASGI application.

    Args:
        app: the Litestar application.
        assets: the names of the files under `/docs/assets`.
        limits: what a request may have at most.
        cors: the web origins that may read the answers.
        admission: knows how many requests may go on to the service.
        watch: is told of each request.
        leaves: whether clients should use another connection for their next request.
        handlers: by their path, those that Litestar is passed by for.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        assets: Collection[str],
        limits: Limits,
        cors: Cors,
        admission: Admission,
        watch: RequestWatch | None = None,
        leaves: Callable[[], bool] = lambda: False,
        handlers: Mapping[str, Handler] | None = None,
    ) -> None:
        self._app = app
        self._assets = assets
        self._limits = limits
        self._cors = cors
        self._admission = admission
        self._watch = watch or RequestWatch()
        self._leaves = leaves
        self._handlers = handlers or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; anything but HTTP (the lifespan) goes straight to Litestar."""
        if scope["type"] == ScopeType.HTTP:
            await self._answer_request(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer_request(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        fields = Fields(scope["headers"])
        request_id = chosen_request_id([id_.decode("latin-1") for id_ in fields[b"x-request-id"]])
        exchange = Exchange(
            receive,
            send,
            [
                (b"cache-control", b"no-store"),
                (b"x-request-id", request_id.encode("ascii")),
                *self._cors.headers(fields.first(b"origin"), scope["method"]),
                *([(b"connection", b"close")] if self._leaves() else []),
            ],
            with_body=scope["method"] != "HEAD",
        )
        seen = self._watch.began(request_id, scope["method"], scope["headers"])
        try:
            await self._answer(scope, fields, exchange, seen)
        except CallerGoneError:
            return
        except Exception as error:  # noqa: BLE001 - the last resort: the server's own answer is no JSON
            log_unexpected(error, request_id)
            seen.reason = errors.UNEXPECTED.reason
            if not exchange.started:
                await errors.UNEXPECTED(scope, exchange.receive, exchange.send)
        finally:
            self._watch.ended(seen, exchange.status or GONE)

    async def _answer(self, scope: HTTPScope, fields: Fields, exchange: Exchange, seen: Seen) -> None:
        found = self._target_or_refusal(scope, fields)
        query = scope["query_string"]
        # In place: also what is outside of this function can no longer record the credential.
        scope["query_string"] = without_api_key(query)
        if isinstance(found, Target):
            seen.found(found.path)
            found = await self._body_refusal(fields, exchange) or found
        if isinstance(found, Answer):
            seen.reason = found.reason
            await found(scope, exchange.receive, exchange.send)
            return
        credential = read_credential(fields[b"authorization"], query)
        place = await self._admission.enter(scope, credential, seen) if found.calls_service else None
        if isinstance(place, Answer):
            seen.reason = place.reason
            await place(scope, exchange.receive, exchange.send)
            return
        address = "" if place is None else place.address
        call = Call(seen.request_id, credential, found.room_name, tuple(scope["headers"]), address, seen)
        handler = self._handlers.get(found.path)
        inner: Any = {"method": "GET", "path": found.path, "state": state_with(call, scope.get("state", {}))}
        try:
            if handler is None:
                await exchange.run(self._app({**scope, **inner}, exchange.receive, exchange.send))
            else:
                await exchange.run(self._handle(handler, {**scope, **inner}, exchange))
        finally:
            if place is not None:
                self._admission.leave(place)

    async def _handle(self, handler: Handler, scope: Any, exchange: Exchange) -> None:
        """What is left of Litestar's part where its handler takes nothing but the scope."""
        scope["litestar_app"] = self._app  # as Litestar itself says
        answer = await handler(scope)
        await answer(scope, exchange.receive, exchange.send)

    def _target_or_refusal(self, scope: HTTPScope, fields: Fields) -> Target | Answer:
        if len(scope["raw_path"]) + len(scope["query_string"]) > self._limits.path_bytes:
            return errors.PATH_TOO_LONG
        if fields.size > self._limits.header_bytes:
            return errors.HEADERS_TOO_LARGE
        try:
            target = find_target(scope["raw_path"], self._assets)
        except PathNotUtf8Error:
            return errors.PATH_NOT_UTF8
        if target is None:
            return errors.ROUTE_UNKNOWN
        if scope["method"] in {"GET", "HEAD"}:
            return target
        return _NO_CONTENT if scope["method"] == "OPTIONS" else _METHOD_NOT_ALLOWED

    async def _body_refusal(self, fields: Fields, exchange: Exchange) -> Answer | None:
        announced = fields.first(b"content-length")
        if announced is None and fields.first(b"transfer-encoding") is None:
            return None  # HTTP/1.1 has no other way to send one
        # The server has checked that it is a number; one of twenty digits need not be read as one.
        if announced and (len(announced) > 18 or int(announced) > self._limits.body_bytes):
            return errors.BODY_TOO_LARGE
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                fits = await exchange.skip_body(self._limits.body_bytes)
        except TimeoutError:
            return errors.BODY_TOO_SLOW
        except CallerGoneError:
            # Or the body is no HTTP: the server tells neither from the other, and would say 500 by itself.
            return errors.BODY_BROKEN
        return None if fits else errors.BODY_TOO_LARGE
