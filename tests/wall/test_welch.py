"""The test for timing leaks finds a leak, and finds none where there is none."""

import random

import pytest

from tests.wall.welch import LEAK, compared, cropped_t, welch_t


def times(seed: int, shift: float, tail: float = 0.0) -> list[float]:
    chance = random.Random(seed)
    return [
        chance.gauss(100 + shift, 10) + (chance.expovariate(1 / tail) if tail else 0) for _ in range(5_000)
    ]


def test_it_is_welchs_t() -> None:
    # Means 2 and 4, variances 1 and 4, three of each.
    assert welch_t([1, 2, 3], [2, 4, 6]) == pytest.approx(-2 / (1 / 3 + 4 / 3) ** 0.5)
    assert welch_t([5, 5, 5], [5, 5, 5]) == 0
    assert welch_t([5, 5, 5], [6, 6, 6]) == float("-inf")


def test_equal_times_do_not_leak() -> None:
    assert abs(welch_t(times(1, 0), times(2, 0))) < LEAK
    assert abs(cropped_t(times(1, 0), times(2, 0))) < LEAK


def test_a_small_difference_leaks() -> None:
    assert welch_t(times(1, 0), times(2, 2)) < -LEAK
    assert cropped_t(times(1, 0), times(2, 2)) < -LEAK


def test_cropping_finds_what_the_tail_hides() -> None:
    slow, slower = times(1, 0, tail=1_000), times(2, 20, tail=1_000)
    assert abs(welch_t(slow, slower)) < LEAK
    assert cropped_t(slow, slower) < -LEAK


def test_each_pair_is_compared_once() -> None:
    kinds = {"a": times(1, 0), "b": times(2, 0), "c": times(3, 5)}
    found = {pair: abs(t) > LEAK for pair, t, _ in compared(kinds)}
    assert found == {"a, b": False, "a, c": True, "b, c": True}
