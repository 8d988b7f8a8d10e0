"""Owns delegated authentication: asks an auth service of the operator's whose token this is.

Step before: `service.authentication`, for a token that no API secret and no identity provider decides. Step
after: `service.auth.signing` signs the question, and the auth service answers it.
"""

import asyncio
import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

import aiohttp

from service.auth.principal import Anonymous, Principal, Tenant, TenantId, is_tenant_id
from service.auth.question import Question
from service.auth.question_turns import MOST_KNOWN_QUESTIONS, MOST_NEW_QUESTIONS, QuestionTurns
from service.auth.refusal_log import RefusalLog
from service.auth.signing import Signer
from service.auth.unambiguous_json import members_once
from service.auth.verdict_cache import REFUSED, Refused, VerdictCache
from service.certificates import Certificates
from service.errors import (
    AuthServiceFailed,
    AuthServiceTimedOut,
    AuthServiceUnavailable,
    CredentialRejected,
)
from service.flights import FlightFailed, Flights
from service.upstream_http import AnswerEncoded, AnswerTooLarge, open_session, read_whole, trusting, within

MAX_ANSWER_BYTES: Final = 64 * 1024
MOST_CONNECTIONS: Final = MOST_KNOWN_QUESTIONS + MOST_NEW_QUESTIONS

_NO_ID: Final = object()
_NAME: Final = "auth_service"


class Watch(Protocol):
    """What is told of questions: `service.upstream_watch`."""

    def waits(self, question: str) -> AbstractContextManager[None]:
        """Around the wait for an answer, which others may share."""
        ...

    def asks(self, question: str) -> AbstractContextManager[None]:
        """Around one question."""
        ...


class _Unwatched:
    """Nobody is told."""

    def waits(self, question: str) -> AbstractContextManager[None]:
        return nullcontext()

    def asks(self, question: str) -> AbstractContextManager[None]:
        return nullcontext()


class AuthService:
    """Asks the auth service, once for all who ask the very same before that call begins.

    Args:
        session: an open session without cookies and proxies; whoever opened it closes it.
        url: where the questions are POSTed.
        signer: signs them.
        timeout: seconds for one call, from connecting to the last byte.
        allow_no_id: whether a caller who is accepted without an id sees all rooms, instead of none.
        cache: keeps verdicts where the operator has set a time for it.
        watch: is told of each wait for an answer, and of each question that is really asked.
        refusals: is told why a token was refused, once for each question that is really asked.
        turns: says who may ask next.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        signer: Signer,
        *,
        timeout: float,
        allow_no_id: bool,
        cache: VerdictCache | None,
        watch: Watch | None = None,
        refusals: RefusalLog | None = None,
        turns: QuestionTurns | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._signer = signer
        self._timeout = timeout
        self._allow_no_id = allow_no_id
        self._cache = cache
        self._watch = watch or _Unwatched()
        self._refusals = refusals
        self._turns = turns or QuestionTurns()
        self._flights: Flights[Question, Principal | Refused] = Flights(self._ask)

    async def verify(self, question: Question) -> Principal:
        """The caller that the auth service names: a tenant, never an operator.

        Raises:
            CredentialRejected: it refused the token, or accepted it without a usable id.
            AuthServiceFailed: it answered with 5xx, 3xx, or 2xx other than 200.
            AuthServiceUnavailable, AuthServiceTimedOut: it could not be reached, or not in time.
            JwtSigningFailed: the question could not be signed.
            Overloaded: too many tokens wait to be asked about.
        """
        remembered = self._cache.get(question) if self._cache is not None else None
        verdict = remembered or await self._verdict(question)
        if isinstance(verdict, Refused):
            raise CredentialRejected("the auth service refused it")
        return verdict

    async def _verdict(self, question: Question) -> Principal | Refused:
        try:
            with self._turns.wait(question), self._watch.waits(_NAME):
                verdict = await self._flights.join(question)
        except FlightFailed as error:
            raise AuthServiceUnavailable("the call was cancelled") from error
        if self._cache is not None:
            self._cache.put(question, verdict)
        return verdict

    async def _ask(self, question: Question) -> Principal | Refused:
        # Both together within the time of one call.
        deadline = asyncio.get_running_loop().time() + self._timeout
        async with self._turns.turn(question, self._timeout / 2):
            with self._watch.asks(_NAME):
                try:
                    verdict = await self._asked(question, deadline)
                except CredentialRejected as refusal:
                    self._tell(str(refusal))
                    self._turns.decided(question, None)
                    raise
        self._turns.decided(question, None if isinstance(verdict, Refused) else verdict)
        return verdict

    def _tell(self, reason: str) -> None:
        if self._refusals is not None:
            self._refusals.refused(reason)

    async def _asked(self, question: Question, deadline: float) -> Principal | Refused:
        """The verdict, if there is one; any other answer that grants nothing is an error, and not kept."""
        jwt = self._signer.sign(question.auth_data())
        try:
            async with self._session.post(
                self._url,
                data=jwt.encode(),
                headers={"Content-Type": "application/jwt", "Accept-Encoding": "identity"},
                timeout=within(deadline - asyncio.get_running_loop().time()),
                allow_redirects=False,
            ) as answer:
                match answer.status:
                    case 200:
                        return self._principal_in(await _read(answer))
                    case 401 | 403 as status:
                        self._tell(f"the auth service answered {status}")
                        return REFUSED
                    case status if 400 <= status < 500:
                        raise CredentialRejected(f"the auth service answered {status}")
                    case status:
                        raise AuthServiceFailed(f"the auth service answered {status}")
        except TimeoutError as error:
            raise AuthServiceTimedOut(f"no answer within {self._timeout} s") from error
        except aiohttp.ClientResponseError as error:
            raise AuthServiceFailed(f"not an HTTP answer: {type(error).__name__}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise AuthServiceUnavailable(type(error).__name__) from error

    def _principal_in(self, body: bytes) -> Principal:
        tenant_id = _id_in(body)
        if tenant_id is _NO_ID and self._allow_no_id:
            return Anonymous()
        if not isinstance(tenant_id, str) or not is_tenant_id(tenant_id):
            raise CredentialRejected("the auth service's answer has no usable id")
        return Tenant(TenantId(tenant_id))


def open_questions(ca: Certificates | None) -> aiohttp.ClientSession:
    """A session for questions: reused connections, certificates checked.

    Args:
        ca: whom to trust instead of the system's authorities.
    """
    return open_session(aiohttp.TCPConnector(limit=MOST_CONNECTIONS, ssl=trusting(ca)))


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The body, up to the limit; one that is longer, or encoded, is no usable answer."""
    try:
        return await read_whole(answer, MAX_ANSWER_BYTES)
    except AnswerEncoded as error:
        raise CredentialRejected("the auth service's answer is encoded, which was not asked for") from error
    except AnswerTooLarge as error:
        raise CredentialRejected(f"the auth service's answer is over {MAX_ANSWER_BYTES} bytes") from error


def _id_in(body: bytes) -> Any:
    """The `id` in this answer, whatever it is; `_NO_ID` for an object without one.

    No body at all is no answer: an auth service that died after its headers looks the same.
    """
    try:
        answer = json.loads(body, object_pairs_hook=members_once)
    except (ValueError, RecursionError):
        return None
    return answer.get("id", _NO_ID) if isinstance(answer, dict) else None
