"""Owns the second try of a call to LiveKit: one, after a short pause of chance length, within one deadline.

Step before: `service.livekit` has a message to send. Step after: `service.livekit_transport` carries it, once
or twice. All calls only read, so asking again is safe. Whether it happens depends on the connection and the
HTTP status alone, which are the same for every room.
"""

import asyncio
import random
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import structlog

from service.errors import LiveKitTimedOut, LiveKitUnavailable
from service.inquiry import INQUIRY
from service.livekit import TwirpAnswer, TwirpTransport

PAUSE_SECONDS: Final = (0.05, 0.15)
"""The shortest and the longest pause: what is back at once is met, and callers do not come back together."""

# LiveKit, its store or a proxy in front could not answer now. What it says of the request itself is final.
_TRIED_AGAIN: Final = frozenset(
    {
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)

# Of Twirp's errors. A 408 of this type is LiveKit's own deadline. Another is a proxy's, which had waited
# for a request on an idle connection, and no answer to ours (RFC 9110, 15.5.9).
_TWIRP_ERROR: Final = "application/json"

NO_ANSWER: Final = "no_answer"
CAUSES: Final = (
    NO_ANSWER,
    *(f"http_{status.value}" for status in sorted({HTTPStatus.REQUEST_TIMEOUT, *_TRIED_AGAIN})),
)
"""Why there is a second try: no connection, or one that ended without an answer; or the answer's status."""

_log = structlog.get_logger(__name__)


class RetryingTransport:
    """A `service.livekit.TwirpTransport` that tries once more.

    A first try that succeeds costs nothing more. Of an inquiry only the first call is tried again: the others
    follow from its failure, and whoever asks keeps its deadline.

    Args:
        transport: carries one try.
        timeout: seconds for both tries and the pause between them.
        retried: is told of each second try why there is one, by one of `CAUSES`.
    """

    def __init__(
        self,
        transport: TwirpTransport,
        timeout: float,
        retried: Callable[[str], None] = lambda _cause: None,
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._retried = retried

    async def post(self, method: str, token: str, body: bytes) -> TwirpAnswer:
        """Carries one call; see `service.livekit.TwirpTransport`. What the last try gives is final."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        inquiry = INQUIRY.get(None)
        if inquiry is not None:
            if inquiry.deadline is not None:
                return await self._transport.post(method, token, body)
            inquiry.deadline = deadline
        try:
            answer = await self._transport.post(method, token, body)
        except LiveKitTimedOut:
            raise
        except LiveKitUnavailable as error:
            if not await self._rested(deadline):
                raise
            _log.debug("livekit is asked again", method=method, after=str(error))
            self._retried(NO_ANSWER)
        else:
            if not _may_be_over_soon(answer) or not await self._rested(deadline):
                return answer
            _log.debug("livekit is asked again", method=method, after=f"HTTP {answer.status}")
            self._retried(f"http_{answer.status}")
        try:
            async with asyncio.timeout_at(deadline):
                return await self._transport.post(method, token, body)
        except TimeoutError as error:
            raise LiveKitTimedOut(f"{method}: no answer within {self._timeout} s, in two tries") from error

    async def _rested(self, deadline: float) -> bool:
        """Waits until the second try may begin; False, at once, if there is no time for it."""
        pause = random.uniform(*PAUSE_SECONDS)  # noqa: S311 - it keeps no secret
        if asyncio.get_running_loop().time() + pause >= deadline:
            return False
        await asyncio.sleep(pause)
        return True


def _may_be_over_soon(answer: TwirpAnswer) -> bool:
    if answer.status == HTTPStatus.REQUEST_TIMEOUT:
        return answer.media_type != _TWIRP_ERROR
    return answer.status in _TRIED_AGAIN
