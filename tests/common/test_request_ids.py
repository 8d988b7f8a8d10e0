"""Which request id a request gets: the caller's own where it can be used, else a new one."""

import re
import secrets
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.request_ids import chosen_request_id

FORM = r"[A-Za-z0-9._-]{1,128}"
USABLE = ["a", "0", "req-1.b_C", "x" * 128, "---", "..", "550e8400-e29b-41d4-a716-446655440000"]
UNUSABLE = ["", " ", "a b", " a", "a ", "a/b", "a\n", "a:b", "a\u00e9", "x" * 129, "<script>", "a,b", "\0"]


@pytest.mark.parametrize("sent", USABLE)
def test_a_usable_id_is_taken_over_also_when_it_came_twice(sent: str) -> None:
    assert chosen_request_id([sent]) == sent
    assert chosen_request_id([sent, sent]) == sent


@pytest.mark.parametrize("sent", UNUSABLE)
def test_an_unusable_id_is_replaced(sent: str) -> None:
    assert chosen_request_id([sent]) not in ("", sent)


@given(st.lists(st.text()))
def test_whatever_was_sent_the_id_has_the_contracts_form(sent: list[str]) -> None:
    assert re.fullmatch(FORM, chosen_request_id(sent))


@pytest.mark.parametrize("sent", [["a", "b"], ["a", ""], ["a", "a", "b"]])
def test_of_several_ids_none_is_taken_over(sent: list[str]) -> None:
    assert chosen_request_id(sent) not in sent


def test_new_ids_are_16_hex_digits_of_which_no_part_stays_or_counts() -> None:
    made = [chosen_request_id([]) for _ in range(1_000)]
    assert all(re.fullmatch("[0-9a-f]{16}", made_id) for made_id in made)
    # Each quarter by itself: of 1,000 random ones some 8 are the same, and they do not come in order.
    for quarter in range(0, 16, 4):
        parts = [int(made_id[quarter : quarter + 4], 16) for made_id in made]
        assert len(set(parts)) > 900
        rises = sum(one < next_ for one, next_ in pairwise(parts))
        assert 350 < rises < 650


def test_new_ids_come_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda count: "ab" * count)
    assert chosen_request_id([]) == "ab" * 8
