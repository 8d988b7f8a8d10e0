"""What goes into a frame, and that the count of unsent bytes is right whatever happens."""

import asyncio
import random

import pytest

from service.relay import outbox as outbox_module
from service.relay.calls import Outcome
from service.relay.outbox import FRAME_BYTES, MOST_BYTES, PIECE_BYTES, Outbox, Space
from tenantrooms.relay.v1 import relay_pb2


def frame_of(outbox: Outbox) -> tuple[list[relay_pb2.Answer], list[int]]:
    """What goes out next, and which answers are complete with it."""
    frame = relay_pb2.ExchangeResponse()
    complete = outbox.fill(frame)
    return list(frame.answers), complete


def frames(outbox: Outbox) -> list[list[int]]:
    """The ids in all frames that there are to send."""
    found = []
    while (frame := frame_of(outbox))[0]:
        found.append([answer.id for answer in frame[0]])
    return found


def test_everything_that_is_ready_goes_out_at_once() -> None:
    outbox = Outbox(Space())
    for call_id in range(100):
        outbox.put(call_id, Outcome(b"answer"))
    assert frames(outbox) == [list(range(100))]


def test_large_answers_take_turns_with_each_other_and_with_what_comes_later() -> None:
    outbox = Outbox(Space())
    outbox.put(1, Outcome(bytes(3 * PIECE_BYTES)))
    outbox.put(2, Outcome(bytes(2 * PIECE_BYTES + 1)))
    first, complete = frame_of(outbox)
    assert ([(answer.id, answer.more) for answer in first], complete) == ([(1, True), (2, True)], [])
    outbox.put(3, Outcome(b"small"))
    second, complete = frame_of(outbox)
    assert ([(answer.id, answer.more) for answer in second], complete) == (
        [(1, True), (2, True), (3, False)],
        [3],
    )
    third, complete = frame_of(outbox)
    assert ([(answer.id, answer.more) for answer in third], complete) == ([(1, False), (2, False)], [1, 2])
    assert frame_of(outbox) == ([], [])


def test_a_frame_is_bounded_and_the_rest_goes_into_the_next() -> None:
    outbox = Outbox(Space())
    for call_id in range(40):
        outbox.put(call_id, Outcome(bytes(PIECE_BYTES)))
    while (frame := frame_of(outbox))[0]:
        assert sum(len(answer.response) for answer in frame[0]) < FRAME_BYTES + PIECE_BYTES


def test_an_answer_that_is_cut_up_is_whole_again_put_together() -> None:
    outbox = Outbox(Space())
    answer = random.Random(1).randbytes(5 * PIECE_BYTES + 17)  # noqa: S311 (repeatable on purpose)
    outbox.put(1, Outcome(answer, b"", "id"))
    pieces = []
    while (frame := frame_of(outbox))[0]:
        pieces += frame[0]
    assert b"".join(piece.response for piece in pieces) == answer
    assert [piece.more for piece in pieces] == [True] * 5 + [False]
    assert [piece.request_id for piece in pieces] == [""] * 5 + ["id"]


def test_what_is_taken_back_is_not_sent_and_its_place_is_free_for_another_answer() -> None:
    outbox = Outbox(Space())
    outbox.put(1, Outcome(bytes(3 * PIECE_BYTES)))
    outbox.put(2, Outcome(b"other"))
    frame_of(outbox)
    assert outbox.take_back(1)
    assert not outbox.take_back(1)
    assert not outbox.take_back(2)  # it has been sent
    assert outbox.unsent == 0
    outbox.put(1, Outcome(b"", b"status"))
    assert frames(outbox) == [[1]]


def test_the_count_of_unsent_bytes_is_right_after_anything() -> None:
    chance = random.Random(2)  # noqa: S311 (repeatable on purpose)
    space = Space()
    outbox = Outbox(space)
    unsent: dict[int, int] = {}
    for call_id in range(2_000):
        size = chance.choice((0, 10, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES))
        outbox.put(call_id, Outcome(bytes(size)))
        unsent[call_id] = size
        if chance.random() < 0.3:
            gone = chance.choice(list(unsent))
            assert outbox.take_back(gone)
            del unsent[gone]
        if chance.random() < 0.6:
            answers, complete = frame_of(outbox)
            for answer in answers:
                unsent[answer.id] -= len(answer.response)
            assert [unsent.pop(each) for each in complete] == [0] * len(complete)
        assert outbox.unsent == space.held == sum(unsent.values())
    outbox.close()
    assert space.held == 0


async def waiting_for_space(outbox: Outbox, *sizes: int) -> list[asyncio.Task[None]]:
    """A task for each size that waits for space, by its call's id from 1 on."""
    tasks = [asyncio.create_task(outbox.keep_space(call_id, size)) for call_id, size in enumerate(sizes, 1)]
    await asyncio.sleep(0)
    return tasks


async def admitted(tasks: list[asyncio.Task[None]]) -> list[bool]:
    await asyncio.sleep(0)
    return [task.done() for task in tasks]


async def test_space_is_kept_until_the_answer_is_sent_and_then_given_in_order() -> None:
    outbox = Outbox(Space())
    tasks = await waiting_for_space(outbox, MOST_BYTES, 10, 10)
    assert await admitted(tasks) == [True, False, False]
    assert outbox.is_full
    outbox.put(1, Outcome(bytes(MOST_BYTES)))
    assert await admitted(tasks) == [True, False, False]
    frame_of(outbox)
    assert await admitted(tasks) == [True, True, True]
    assert not outbox.is_full


async def test_an_answer_that_never_comes_or_is_shorter_gives_its_space_to_the_next() -> None:
    outbox = Outbox(Space())
    tasks = await waiting_for_space(outbox, MOST_BYTES, MOST_BYTES, MOST_BYTES, 10)
    outbox.give_back(1)
    assert await admitted(tasks) == [True, True, False, False]
    outbox.put(2, Outcome(b"", b"an error"))
    assert await admitted(tasks) == [True, True, True, False]
    outbox.put(3, Outcome(bytes(MOST_BYTES)))
    assert outbox.take_back(3)
    assert await admitted(tasks) == [True, True, True, True]
    outbox.give_back(4)
    assert outbox.unsent == 0


async def test_an_answer_larger_than_all_space_is_made_when_it_is_alone() -> None:
    outbox = Outbox(Space())
    tasks = await waiting_for_space(outbox, 10, MOST_BYTES + 1, 10)
    assert await admitted(tasks) == [True, False, False]
    outbox.give_back(1)
    assert await admitted(tasks) == [True, True, False]
    outbox.give_back(2)
    assert await admitted(tasks) == [True, True, True]


async def test_a_call_that_ends_while_it_waits_does_not_hold_up_the_next() -> None:
    outbox = Outbox(Space())
    tasks = await waiting_for_space(outbox, 10, MOST_BYTES, 10)
    tasks[1].cancel()
    await asyncio.sleep(0)
    assert await admitted(tasks) == [True, True, True]
    outbox.put(2, Outcome(b"", b"its time is up"))
    outbox.give_back(1)
    outbox.give_back(3)
    assert outbox.unsent == 0


async def test_all_outboxes_share_one_space_and_each_may_make_one_answer_whatever_the_others_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_module, "MOST_BYTES_OF_ALL", 100)
    space = Space()
    first, second = Outbox(space), Outbox(space)
    (held,) = await waiting_for_space(first, 90)
    tasks = await waiting_for_space(second, 20, 20)
    assert await admitted([held, *tasks]) == [True, True, False]
    second.put(1, Outcome(bytes(20)))
    frame_of(second)
    assert await admitted(tasks) == [True, True]
    assert space.held == 110
    first.close()
    second.close()
    assert space.held == 0
