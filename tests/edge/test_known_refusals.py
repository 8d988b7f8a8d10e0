"""Refusals that are remembered: for a second at most, and not too many of them."""

from edge.known_refusals import MOST_REMEMBERED, KnownRefusals


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_remembered_for_a_second_and_told_for_as_long_as_the_service_said() -> None:
    clock = Clock()
    known = KnownRefusals(clock)
    known.add(b"acme", 42)
    assert known.seconds_left(b"acme") == 42
    assert known.seconds_left(b"globex") is None
    clock.now = 0.9
    assert known.seconds_left(b"acme") == 42
    clock.now = 1.0
    assert known.seconds_left(b"acme") is None
    known.add(b"acme", 1)
    clock.now = 1.9
    assert known.seconds_left(b"acme") == 1


def test_so_many_are_remembered_and_no_more() -> None:
    clock = Clock()
    known = KnownRefusals(clock)
    keys = [str(number).encode() for number in range(MOST_REMEMBERED + 1)]
    for key in keys:
        known.add(key, 5)
    assert known.seconds_left(keys[0]) is None
    assert known.seconds_left(keys[1]) == known.seconds_left(keys[-1]) == 5


def test_what_is_over_is_forgotten_with_the_next_one() -> None:
    clock = Clock()
    known = KnownRefusals(clock)
    for key in (b"a", b"b"):
        known.add(key, 5)
    clock.now = 2.0
    known.add(b"c", 5)
    assert len(known) == 1
