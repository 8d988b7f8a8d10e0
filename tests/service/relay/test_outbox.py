"""What goes into a frame, and that the count of unsent bytes is right whatever happens."""

import random

from service.relay.calls import Outcome
from service.relay.outbox import FRAME_BYTES, PIECE_BYTES, Outbox


def frames(outbox: Outbox) -> list[list[int]]:
    """The ids in all frames that there are to send."""
    found = []
    while (frame := outbox.frame())[0]:
        found.append([answer.id for answer in frame[0]])
    return found


def test_everything_that_is_ready_goes_out_at_once() -> None:
    outbox = Outbox()
    for call_id in range(100):
        outbox.put(call_id, Outcome(b"answer"))
    assert frames(outbox) == [list(range(100))]


def test_large_answers_take_turns_with_each_other_and_with_what_comes_later() -> None:
    outbox = Outbox()
    outbox.put(1, Outcome(bytes(3 * PIECE_BYTES)))
    outbox.put(2, Outcome(bytes(2 * PIECE_BYTES + 1)))
    first, complete = outbox.frame()
    assert ([(answer.id, answer.more) for answer in first], complete) == ([(1, True), (2, True)], [])
    outbox.put(3, Outcome(b"small"))
    second, complete = outbox.frame()
    assert ([(answer.id, answer.more) for answer in second], complete) == (
        [(1, True), (2, True), (3, False)],
        [3],
    )
    third, complete = outbox.frame()
    assert ([(answer.id, answer.more) for answer in third], complete) == ([(1, False), (2, False)], [1, 2])
    assert outbox.frame() == ([], [])


def test_a_frame_is_bounded_and_the_rest_goes_into_the_next() -> None:
    outbox = Outbox()
    for call_id in range(40):
        outbox.put(call_id, Outcome(bytes(PIECE_BYTES)))
    while (frame := outbox.frame())[0]:
        assert sum(len(answer.response) for answer in frame[0]) < FRAME_BYTES + PIECE_BYTES


def test_an_answer_that_is_cut_up_is_whole_again_put_together() -> None:
    outbox = Outbox()
    answer = random.Random(1).randbytes(5 * PIECE_BYTES + 17)  # noqa: S311 (repeatable on purpose)
    outbox.put(1, Outcome(answer, b"", "id"))
    pieces = []
    while (frame := outbox.frame())[0]:
        pieces += frame[0]
    assert b"".join(piece.response for piece in pieces) == answer
    assert [piece.more for piece in pieces] == [True] * 5 + [False]
    assert [piece.request_id for piece in pieces] == [""] * 5 + ["id"]


def test_what_is_taken_back_is_not_sent_and_its_place_is_free_for_another_answer() -> None:
    outbox = Outbox()
    outbox.put(1, Outcome(bytes(3 * PIECE_BYTES)))
    outbox.put(2, Outcome(b"other"))
    outbox.frame()
    assert outbox.take_back(1)
    assert not outbox.take_back(1)
    assert not outbox.take_back(2)  # it has been sent
    assert outbox.unsent == 0
    outbox.put(1, Outcome(b"", b"status"))
    assert frames(outbox) == [[1]]


def test_the_count_of_unsent_bytes_is_right_after_anything() -> None:
    chance = random.Random(2)  # noqa: S311 (repeatable on purpose)
    outbox = Outbox()
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
            answers, complete = outbox.frame()
            for answer in answers:
                unsent[answer.id] -= len(answer.response)
            assert [unsent.pop(each) for each in complete] == [0] * len(complete)
        assert outbox.unsent == sum(unsent.values())
