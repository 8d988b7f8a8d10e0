"""Owns what is told of questions to LiveKit and the auth service: how many, how long, and how they failed.

Calls share questions, so there are two sides. `WatchedDirectory` and `WatchedVerifier` stand before the
sharing and see each call wait; `WatchedSource` stands behind it and sees what LiveKit is really asked.

Step before: `service.rooms` for the one, `service.directory` for the other. Step after: these in turn.
"""

import asyncio
from collections.abc import Collection, Sequence
from time import perf_counter
from types import TracebackType
from typing import Final, Protocol

from livekit.protocol.models import ParticipantInfo
from prometheus_client import CollectorRegistry

from service import errors
from service.auth.principal import OneTenant, Scope
from service.batches import Asker
from service.call_watch import CALL
from service.consistency import Consistency
from service.directory import RoomSource
from service.flights import ABOARD
from service.livekit_retry import CAUSES
from service.named_rooms import OwnedRoom
from service.ownership import Owner
from service.participants import Participants
from service.plain_metrics import Collected, Counts, Histogram, Level
from service.room_index import ListedRoom
from service.rooms import RoomDirectory
from service.upstream_http import TRACEPARENT

ALL_ROOMS: Final = "all_rooms"
NAMED_ROOMS: Final = "named_rooms"
PARTICIPANTS: Final = "participants"
AUTH_SERVICE: Final = "auth_service"
QUESTIONS: Final = (ALL_ROOMS, NAMED_ROOMS, PARTICIPANTS, AUTH_SERVICE)

_RPCS: Final = {ALL_ROOMS: "ListRooms", NAMED_ROOMS: "ListRooms", PARTICIPANTS: "ListParticipants"}

# The most telling class first.
_OUTCOMES: Final[Sequence[tuple[type[BaseException], str]]] = (
    (errors.RoomNotFound, "not_found"),
    (errors.CredentialRejected, "rejected"),
    (errors.LiveKitRefused, "refused"),
    (errors.LiveKitAnswerTooLarge, "too_large"),
    (errors.LiveKitRecordCorrupt, "corrupt"),
    (errors.LiveKitTimedOut, "timed_out"),
    (errors.AuthServiceTimedOut, "timed_out"),
    (errors.LiveKitUnavailable, "unavailable"),
    (errors.AuthServiceUnavailable, "unavailable"),
    (asyncio.CancelledError, "cancelled"),
    (BaseException, "failed"),
)
OUTCOMES: Final = ("ok", *dict.fromkeys(outcome for _, outcome in _OUTCOMES))
NO_FAILURES: Final = frozenset({"ok", "not_found", "rejected", "cancelled"})
"""Outcomes at which nothing is wrong."""

_BATCHES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class QuestionSpan(Protocol):
    """What tracing keeps of a question.

    Attributes:
        traceparent: hands it on, as W3C Trace Context says.
    """

    @property
    def traceparent(self) -> str: ...  # noqa: D102

    def end(self, outcome: str) -> None:
        """The question has been answered, or not."""
        ...


class QuestionTracing(Protocol):
    """What begins spans of questions: `service.tracing`."""

    def question(self, name: str, question: str, callers: Sequence[object]) -> QuestionSpan:
        """A span that belongs to the first of these callers, and is linked with the others."""
        ...


class UpstreamWatch:
    """Counts questions and those who wait for their answers.

    Args:
        registry: shows them.
        tracing: makes spans of questions; None makes none.
    """

    def __init__(self, registry: CollectorRegistry, tracing: QuestionTracing | None = None) -> None:
        known = [(question, outcome) for question in QUESTIONS for outcome in OUTCOMES]
        self._asked = Counts(
            "tenantrooms_upstream_calls",
            "What LiveKit and the auth service were asked.",
            ("question", "outcome"),
            known,
        )
        self._waits = Counts(
            "tenantrooms_upstream_waits",
            "How often a call waited for such an answer. Calls share answers.",
            ("question",),
            ((question,) for question in QUESTIONS),
        )
        self._seconds = Histogram(
            "tenantrooms_upstream_duration_seconds", "How long answers took.", "question", QUESTIONS
        )
        self._batches = Histogram(
            "tenantrooms_upstream_batch_rooms",
            "How many rooms were asked for in one question.",
            "question",
            (NAMED_ROOMS,),
            _BATCHES,
        )
        self._in_flight = Level("tenantrooms_upstream_in_flight", "Questions under way.")
        self._retries = Counts(
            "tenantrooms_livekit_retries",
            "How often LiveKit was asked a second time, by why.",
            ("cause",),
            ((cause,) for cause in CAUSES),
        )
        self._tracing = tracing
        Collected(
            registry, (self._asked, self._waits, self._seconds, self._batches, self._in_flight, self._retries)
        )

    def waits(self, question: str) -> "_Wait":
        """Around a call's wait for an answer, which others may share."""
        self._waits.add(question)
        return _Wait(question)

    def asks(self, question: str) -> "_Asking":
        """Around one question to LiveKit or the auth service."""
        span = None
        if self._tracing is not None:
            span = self._tracing.question(_RPCS.get(question, question), question, ABOARD.get())
            TRACEPARENT.set(span.traceparent)
        return _Asking(self, question, span)

    def began(self) -> None:
        """A question is under way."""
        self._in_flight.value += 1

    def ended(self, question: str, outcome: str, seconds: float) -> None:
        """A question is no longer under way."""
        self._in_flight.value -= 1
        self._asked.add(question, outcome)
        self._seconds.observe(question, seconds)

    def retried(self, cause: str) -> None:
        """LiveKit is asked a second time, for one of `service.livekit_retry.CAUSES`."""
        self._retries.add(cause)

    def names(self, count: int) -> None:
        """A question named so many rooms."""
        self._batches.observe(NAMED_ROOMS, count)


# A call waits up to three times, so these are no generators, which cost several times as much.


class _Wait:
    """One call's wait."""

    __slots__ = ("_began", "_call", "_question")

    def __init__(self, question: str) -> None:
        self._question = question
        self._call = CALL.get(None)

    def __enter__(self) -> None:
        if self._call is not None:
            self._call.upstream_calls += 1
        self._began = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call = self._call
        if call is None:
            return
        call.upstream_seconds += perf_counter() - self._began
        if isinstance(error, Exception) and _outcome_of(error) not in NO_FAILURES:
            call.upstream_failed.append(self._question)


class _Asking:
    """One question under way."""

    __slots__ = ("_began", "_question", "_span", "_watch")

    def __init__(self, watch: UpstreamWatch, question: str, span: QuestionSpan | None) -> None:
        self._watch = watch
        self._question = question
        self._span = span

    def __enter__(self) -> None:
        self._began = perf_counter()
        self._watch.began()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = "ok" if error is None else _outcome_of(error)
        self._watch.ended(self._question, outcome, perf_counter() - self._began)
        if self._span is not None:
            self._span.end(outcome)


class WatchedDirectory:
    """A directory before which calls are seen to wait; see `service.rooms.RoomDirectory`."""

    def __init__(self, directory: RoomDirectory, watch: UpstreamWatch) -> None:
        self._directory = directory
        self._watch = watch

    async def rooms(self, scope: Scope, consistency: Consistency) -> Sequence[ListedRoom]:
        """As the directory's."""
        by_name = consistency is Consistency.MINIMIZE_LATENCY and isinstance(scope, OneTenant)
        with self._watch.waits(NAMED_ROOMS if by_name else ALL_ROOMS):
            return await self._directory.rooms(scope, consistency)

    async def room(self, name: str, asker: Asker) -> OwnedRoom | None:
        """As the directory's."""
        with self._watch.waits(NAMED_ROOMS):
            return await self._directory.room(name, asker)

    async def participants(self, room_name: str, owner: Owner) -> Participants:
        """As the directory's."""
        with self._watch.waits(PARTICIPANTS):
            return await self._directory.participants(room_name, owner)


class WatchedSource:
    """LiveKit, seen to be asked; see `service.directory.RoomSource`."""

    def __init__(self, source: RoomSource, watch: UpstreamWatch) -> None:
        self._source = source
        self._watch = watch

    async def list_all_rooms(self) -> Sequence[bytes]:
        """As the source's."""
        with self._watch.asks(ALL_ROOMS):
            return await self._source.list_all_rooms()

    async def list_rooms_named(self, names: Collection[str]) -> Sequence[bytes]:
        """As the source's."""
        self._watch.names(len(names))
        with self._watch.asks(NAMED_ROOMS):
            return await self._source.list_rooms_named(names)

    async def list_participants(self, room_name: str) -> Sequence[ParticipantInfo]:
        """As the source's."""
        with self._watch.asks(PARTICIPANTS):
            return await self._source.list_participants(room_name)


def _outcome_of(error: BaseException) -> str:
    return next(outcome for kind, outcome in _OUTCOMES if isinstance(error, kind))
