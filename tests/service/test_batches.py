"""What becomes of a batch of keys: who is told what and when, what halves cost, and what counts as masked."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from traceback import walk_tb

import pytest

from service.auth.principal import OneTenant, Scope, TenantId
from service.batches import Asker, Batches, FailedAsAWhole
from service.errors import LiveKitFailed, LiveKitTimedOut, LiveKitUnavailable
from service.flights import FlightFailed
from service.inquiry import INQUIRY
from service.livekit import TwirpAnswer
from service.livekit_retry import RetryingTransport

ACME = OneTenant(TenantId("acme"))


@dataclass
class Question:
    """One question. A test says what it answers."""

    keys: tuple[str, ...]
    outcome: asyncio.Future[Mapping[str, str]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def land(self) -> None:
        self.outcome.set_result({key: f"about {key}" for key in self.keys})

    def fail(self, failure: Exception | None = None) -> None:
        self.outcome.set_exception(failure or LiveKitFailed("at one of them"))


class Questions:
    """What batches ask."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.aborted: list[Question] = []
        self.seconds: float | None = None
        """For all questions that follow from one."""
        self._changed = asyncio.Event()

    async def ask(self, keys: Sequence[str]) -> Mapping[str, str]:
        inquiry = INQUIRY.get()
        if self.seconds is not None and inquiry.deadline is None:
            inquiry.deadline = asyncio.get_running_loop().time() + self.seconds
        question = Question(tuple(keys))
        self.asked.append(question)
        self._changed.set()
        try:
            return await question.outcome
        except asyncio.CancelledError:
            self.aborted.append(question)
            self._changed.set()
            raise

    @property
    def in_the_air(self) -> list[Question]:
        return [question for question in self.asked if not question.outcome.done()]

    async def until(self, count: int) -> Question:
        """The question of this number, from 1, once it is asked."""
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.asked[count - 1]

    async def until_aborted(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.aborted) < count:
                self._changed.clear()
                await self._changed.wait()


def in_tens(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[start : start + 10] for start in range(0, len(keys), 10)]


def is_masked(_scope: Scope, answer: str) -> bool:
    return "foreign" in answer


@pytest.fixture
def questions() -> Questions:
    return Questions()


@pytest.fixture
def batches(questions: Questions) -> Batches[str, str]:
    return Batches(questions.ask, in_tens, is_masked)


def asks(batches: Batches[str, str], key: str) -> tuple[Asker, "asyncio.Task[str]"]:
    asker = Asker(ACME)
    return asker, asyncio.create_task(batches.find(key, asker))


def all_ask(batches: Batches[str, str], keys: Sequence[str]) -> "list[asyncio.Task[str]]":
    return [asks(batches, key)[1] for key in keys]


async def settle() -> None:
    """Lets everything happen that can happen without an answer."""
    for _ in range(30):
        await asyncio.sleep(0)


# --- halves -----------------------------------------------------------------------------------------------


async def test_while_halves_are_asked_about_the_next_batch_is_asked_and_answered(
    questions: Questions, batches: Batches[str, str]
) -> None:
    early = all_ask(batches, "abcd")
    first = await questions.until(1)
    late = all_ask(batches, "ax")
    await settle()
    first.fail()
    await questions.until(4)
    assert [question.keys for question in questions.in_the_air] == [("a", "b"), ("c", "d"), ("a", "x")]
    questions.asked[3].land()
    assert await asyncio.gather(*late) == ["about a", "about x"]
    assert not any(task.done() for task in early)
    for question in questions.in_the_air:
        question.land()
    assert await asyncio.gather(*early) == [f"about {key}" for key in "abcd"]


async def test_halves_answer_nobody_who_came_after_the_failed_question_began(
    questions: Questions, batches: Batches[str, str]
) -> None:
    early = all_ask(batches, "ab")
    (await questions.until(1)).fail()
    await questions.until(3)
    late = all_ask(batches, "a")
    await settle()
    for question in questions.asked[1:3]:
        question.land()
    await asyncio.gather(*early)
    await settle()
    assert not late[0].done()
    (await questions.until(4)).land()
    assert await late[0] == "about a"


async def test_a_question_and_its_halves_have_one_deadline(
    questions: Questions, batches: Batches[str, str]
) -> None:
    questions.seconds = 0.05
    tasks = all_ask(batches, "abcd")
    (await questions.until(1)).fail()
    (await questions.until(2)).land()
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[:2] == ["about a", "about b"]
    assert [type(answer) for answer in answers[2:]] == [LiveKitTimedOut] * 2
    await questions.until_aborted(1)


async def test_the_time_for_livekit_bounds_the_halves_too_and_none_is_tried_again() -> None:
    posted: list[bytes] = []

    class Transport:
        async def post(self, method: str, token: str, body: bytes) -> TwirpAnswer:
            posted.append(body)
            if b"b" in body and len(body) > 1:
                return TwirpAnswer(500, "application/json", b"{}")
            if body == b"b":
                raise LiveKitUnavailable("once, for a second try would succeed")
            if body == b"d":
                await asyncio.Event().wait()
            return TwirpAnswer(200, "application/protobuf", body)

    transport = RetryingTransport(Transport(), 1)

    async def ask(keys: Sequence[str]) -> Mapping[str, str]:
        answer = await transport.post("ListRooms", "token", "".join(keys).encode())
        if answer.status != 200:
            raise LiveKitFailed("HTTP 500")
        return dict.fromkeys(keys, "found")

    async with asyncio.timeout(10):
        answers = await asyncio.gather(
            *all_ask(Batches(ask, in_tens), ["a", "b", "c", "d"]), return_exceptions=True
        )
    # The first question is asked twice, as ever. A half is the second try of the one that it is a half of.
    assert sorted(posted) == [b"a", b"ab", b"abcd", b"abcd", b"b", b"cd"]
    assert answers[0] == "found"
    assert isinstance(answers[1], LiveKitUnavailable)
    assert answers[2:] == ["found", "found"]


async def test_of_however_many_failed_questions_few_halves_are_asked_about_at_a_time(
    questions: Questions, batches: Batches[str, str]
) -> None:
    tasks: list[asyncio.Task[str]] = []
    for batch in range(5):  # each of three parts, which all fail
        tasks += all_ask(batches, [f"{batch}/{number}" for number in range(30)])
        await settle()
        parts = [question for question in questions.in_the_air if len(question.keys) == 10]
        assert len(parts) == 3
        for question in parts:
            question.fail()
        await settle()
        assert len(questions.in_the_air) == (8 if batch else 6)
    while questions.in_the_air:
        assert len(questions.in_the_air) <= 8
        questions.in_the_air[0].fail()
        await settle()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [LiveKitFailed] * 150
    assert len(questions.asked) == 15 * 19


async def test_halves_that_nobody_waits_for_are_given_up_and_those_of_who_left_not_begun(
    questions: Questions, batches: Batches[str, str]
) -> None:
    tasks = all_ask(batches, "abcdefgh")
    first = await questions.until(1)
    for task in tasks[:4]:
        task.cancel()
    first.fail()
    (await questions.until(2)).fail()
    await questions.until(4)
    assert [question.keys for question in questions.asked[1:]] == [
        ("e", "f", "g", "h"),
        ("e", "f"),
        ("g", "h"),
    ]
    for task in tasks[4:]:
        task.cancel()
    await questions.until_aborted(2)
    await settle()
    assert (questions.in_the_air, batches._halvings) == ([], set())
    after = all_ask(batches, "a")
    (await questions.until(5)).land()
    assert await after[0] == "about a"


# --- what is masked ---------------------------------------------------------------------------------------


async def test_who_shares_a_failed_question_or_begins_while_its_halves_are_asked_about_is_beside_a_masked_one(
    questions: Questions, batches: Batches[str, str]
) -> None:
    sharing, first = asks(batches, "a")
    _, second = asks(batches, "b")
    reading = await questions.until(1)
    waiting, third = asks(batches, "c")
    await settle()
    reading.fail()
    (await questions.until(4)).land()  # the batch that waited for it
    await third
    await settle()
    meanwhile, fourth = asks(batches, "d")  # waits for no batch, as none is in the air
    (await questions.until(5)).land()
    await fourth
    for question in questions.in_the_air:
        question.land()
    await asyncio.gather(first, second)
    await settle()
    after, fifth = asks(batches, "e")
    (await questions.until(6)).land()
    await fifth
    askers = [sharing, waiting, meanwhile, after]
    assert [asker.beside_masked for asker in askers] == [True, True, True, False]


# --- failures ---------------------------------------------------------------------------------------------


async def test_what_nobody_foresaw_in_one_part_fails_its_keys_alone(
    questions: Questions, batches: Batches[str, str]
) -> None:
    tasks = all_ask(batches, [str(number) for number in range(20)])
    broken, well = await questions.until(1), await questions.until(2)
    broken.fail(ZeroDivisionError("odd"))
    answers = await asyncio.gather(*tasks[:10], return_exceptions=True)
    assert {type(answer) for answer in answers} == {ZeroDivisionError}
    await settle()
    assert questions.in_the_air == [well]
    later = all_ask(batches, "x")
    await settle()
    assert len(questions.asked) == 2, "the batch is still in the air"
    well.land()
    assert await asyncio.gather(*tasks[10:]) == [f"about {number}" for number in range(10, 20)]
    (await questions.until(3)).land()
    assert await later[0] == "about x"


async def test_a_failure_that_is_about_no_key_is_everybodys_and_nothing_is_asked_in_halves(
    questions: Questions, batches: Batches[str, str]
) -> None:
    asked = [asks(batches, key) for key in "abc"]
    (await questions.until(1)).fail(FailedAsAWhole(LiveKitFailed("at all of them")))
    for asker, task in asked:
        with pytest.raises(LiveKitFailed, match="at all of them"):
            await task
        assert asker.beside_masked
    assert len(questions.asked) == 1


@pytest.mark.parametrize("keys", [["a"], [str(number) for number in range(20)]], ids=["alone", "in parts"])
async def test_a_question_that_is_cancelled_from_within_fails_its_keys(
    questions: Questions, batches: Batches[str, str], keys: list[str]
) -> None:
    tasks = all_ask(batches, keys)
    (await questions.until(1)).outcome.cancel()
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*tasks[:10], return_exceptions=True)
    assert {type(answer) for answer in answers} == {FlightFailed}
    for question in questions.in_the_air:
        question.land()
    assert await asyncio.gather(*tasks[10:]) == [f"about {key}" for key in keys[10:]]


async def test_an_answer_that_lacks_a_key_fails_it(questions: Questions, batches: Batches[str, str]) -> None:
    tasks = all_ask(batches, "ab")
    (await questions.until(1)).outcome.set_result({"a": "about a"})
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[0] == "about a"
    assert isinstance(answers[1], KeyError)


async def test_a_key_that_is_in_no_part_fails_the_batch(questions: Questions) -> None:
    batches = Batches(questions.ask, lambda keys: [keys[:1]])
    answers = await asyncio.gather(*all_ask(batches, "ab"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [RuntimeError] * 2
    assert questions.asked == []


@pytest.mark.parametrize("failure", [LiveKitUnavailable("away"), ZeroDivisionError("odd")], ids=repr)
async def test_each_caller_gets_a_failure_of_its_own_that_says_what_happened_and_where(
    questions: Questions, batches: Batches[str, str], failure: Exception
) -> None:
    failure.__cause__ = OSError("the cause")
    seen: list[Exception] = []

    async def caller() -> None:
        try:
            await batches.find("a", Asker(ACME))
        except Exception as error:
            await asyncio.sleep(0)  # as who waits for an even time
            seen.append(error)
            raise

    callers = [asyncio.create_task(caller()) for _ in range(100)]
    (await questions.until(1)).fail(failure)
    await asyncio.wait(callers)
    assert {(type(error), str(error)) for error in seen} == {(type(failure), str(failure))}
    assert {str(error.__cause__) for error in seen} == {"the cause"}
    assert len(set(map(id, seen))) == len(seen) == 100
    frames = [[frame.f_code.co_name for frame, _ in walk_tb(error.__traceback__)] for error in seen]
    assert all(names == frames[0] for names in frames)
    assert (frames[0][0], frames[0][-1]) == ("caller", "ask")
