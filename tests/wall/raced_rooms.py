"""Rooms of the LiveKit double that change between the upstream calls about them, by a plan of moves."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

from aiohttp import web
from livekit.protocol import room as proto

from tests.support.livekit_calls import Call, respond
from tests.support.livekit_double import LiveKitDouble
from tests.wall.asking import RIVAL
from tests.wall.lives import owned_by, people_of

STAYS, GOES = "stays", "goes"
GIVEN_TO_READER, GIVEN_AWAY = "is given to the reader", "is given away"
RECREATED, TAKEN_OVER = "is recreated by the reader", "is recreated by another"
MOVES = (STAYS, GOES, GIVEN_TO_READER, GIVEN_AWAY, RECREATED, TAKEN_OVER)


@dataclass(frozen=True)
class State:
    """A room at one moment: its owner, None where there is no room, and the number of its life."""

    owner: str | None
    life: int

    def after(self, move: str, reader: str) -> "State":
        """The room after this move; only what is there can be given."""
        rival = RIVAL[reader]
        match move:
            case "goes":
                return State(None, self.life)
            case "is given to the reader" | "is given away" if self.owner is not None:
                return State(reader if move == GIVEN_TO_READER else rival, self.life)
            case "is recreated by the reader" | "is recreated by another":
                return State(reader if move == RECREATED else rival, self.life + 1)
            case _:
                return self


@dataclass(frozen=True)
class Plan:
    """Whose room it is at first, and what becomes of it after each upstream call about it."""

    reader: str
    first: State
    moves: tuple[str, ...]

    def states(self) -> list[State]:
        """What each upstream call finds: the room, the participants, the room again."""
        found = [self.first]
        for move in self.moves:
            found.append(found[-1].after(move, self.reader))
        return found

    def is_answered(self) -> bool:
        """Whether the reader gets the room, by the rule of the second look."""
        first, second, third = self.states()
        if first.owner != self.reader:
            return False
        return second.owner is None or third == first

    def goes_and_comes_back(self) -> bool:
        """Whether the reader's room is another's in between, under one life, which no look can see."""
        first, second, third = self.states()
        gone = second.owner not in (None, self.reader) and second.life == first.life
        return gone and first.owner == self.reader and third == first


def all_plans() -> list[Plan]:
    """Every plan for either reader."""
    return [
        Plan(reader, State(owner, 1), moves)
        for reader, rival in RIVAL.items()
        for owner in (reader, rival, None)
        for moves in product(MOVES, repeat=2)
    ]


@dataclass
class RacedRooms:
    """Answers the double's calls, and right after each one moves the rooms that it was about."""

    double: LiveKitDouble
    _coming: dict[str, Iterator[State]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for method in ("ListRooms", "ListParticipants"):
            self.double.script_always(method, self)

    def begin(self, name: str, states: Iterable[State]) -> None:
        """Puts the room into the first of these states; each upstream call moves it to the next."""
        self._coming[name] = iter(states)
        self._move(name)

    def end(self, name: str) -> None:
        """Forgets the room."""
        del self._coming[name]
        self._show(name, State(None, 0))

    async def send(self, call: Call) -> web.StreamResponse:
        """Answers; see `livekit_calls.Fault`."""
        answer = call.answer()
        body = await call.request.read()
        if call.request.path.endswith("/ListRooms"):
            names = list(proto.ListRoomsRequest.FromString(body).names)
        else:
            names = [proto.ListParticipantsRequest.FromString(body).room]
        for name in names:
            if name in self._coming:
                self._move(name)
        return respond(answer)

    def _move(self, name: str) -> None:
        state = next(self._coming[name], None)
        if state is not None:
            self._show(name, state)

    def _show(self, name: str, state: State) -> None:
        if state.owner is None:
            if self.double.has_room(name):
                self.double.remove_room(name)
            return
        sid = f"RM_{state.life}_{name}"
        self.double.put_room(name, metadata=owned_by(state.owner), sid=sid)
        for one in people_of(state.owner, sid):
            self.double.put_participant(name, one.identity, metadata=one.metadata, name=one.name)
