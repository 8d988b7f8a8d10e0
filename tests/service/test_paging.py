"""Pages and their tokens: every room exactly once, and a token is good for what it was made for only."""

import base64
import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.auth.principal import AllRooms, OneTenant, Scope, TenantId
from service.consistency import Consistency
from service.errors import PageSizeInvalid, PageTokenInvalid
from service.paging import (
    DEFAULT_PAGE_SIZE,
    LARGEST_PAGE_SIZE,
    check_page_token,
    checked_page_size,
    cut_page,
)
from service.room_index import ListedRoom
from tests.service.recorded_rooms import listed, room

ACME: Scope = OneTenant(TenantId("acme"))
FULL = Consistency.FULL

# Anything that protobuf can carry, which leaves out unpaired surrogates.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def sorted_rooms(names: set[str]) -> list[ListedRoom]:
    return [listed(room(name)) for name in sorted(names)]


def page_of(names: set[str], size: int, token: str, scope: Scope = ACME) -> tuple[list[str], str]:
    page, next_token = cut_page(sorted_rooms(names), size, token, scope, FULL)
    return [room.name for room in page], next_token


def token_after(name: str, scope: Scope = ACME, consistency: Consistency = FULL) -> str:
    """The token of the page after this room's."""
    _, token = cut_page(sorted_rooms({name, name + "~"}), 1, "", scope, consistency)
    assert token
    return token


@pytest.mark.wall
@given(names=st.sets(NAMES), sizes=SIZES)
def test_a_walk_gives_each_room_exactly_once_and_in_order(names: set[str], sizes: list[int]) -> None:
    seen, token = page_of(names, sizes[0], "")
    for size in itertools.cycle(sizes):
        if not token:
            break
        page, token = page_of(names, size, token)
        assert 1 <= len(page) <= size
        seen += page
    assert seen == sorted(names)


@pytest.mark.wall
@given(lasting=st.sets(NAMES), passing=st.sets(NAMES), sizes=SIZES, data=st.data())
def test_rooms_that_come_and_go_neither_hide_nor_repeat_one_that_stays(
    lasting: set[str], passing: set[str], sizes: list[int], data: st.DataObject
) -> None:
    passing -= lasting
    seen: list[str] = []
    token = ""
    for size in itertools.cycle(sizes):
        present = {name for name in sorted(passing) if data.draw(st.booleans())}
        page, token = page_of(lasting | present, size, token)
        seen += page
        if not token:
            break
    assert seen == sorted(set(seen))
    assert lasting <= set(seen) <= lasting | passing


def test_the_walk_goes_on_where_the_last_room_shown_was_removed() -> None:
    page, token = page_of({"a", "b", "c"}, 2, "")
    assert page == ["a", "b"]
    assert page_of({"a", "c"}, 2, token) == (["c"], "")


def test_a_page_that_ends_with_the_last_room_has_no_next() -> None:
    assert page_of({"a", "b"}, 2, "") == (["a", "b"], "")
    assert page_of(set(), 2, "") == ([], "")


MADE_FOR: list[tuple[Scope, Consistency]] = [
    (ACME, Consistency.FULL),
    (ACME, Consistency.MINIMIZE_LATENCY),
    (OneTenant(TenantId("globex")), Consistency.FULL),
    (OneTenant(TenantId("acm")), Consistency.FULL),
    (OneTenant(TenantId("all")), Consistency.FULL),
    (AllRooms(), Consistency.FULL),
    (AllRooms(), Consistency.MINIMIZE_LATENCY),
]


def test_a_token_is_good_for_its_own_scope_and_consistency_only() -> None:
    for made_for, used_for in itertools.product(MADE_FOR, MADE_FOR):
        token = token_after("a", *made_for)
        if made_for == used_for:
            check_page_token(token, *used_for)
        else:
            with pytest.raises(PageTokenInvalid):
                check_page_token(token, *used_for)
            with pytest.raises(PageTokenInvalid):
                cut_page(sorted_rooms({"a", "b"}), 1, token, *used_for)


@pytest.mark.wall
@given(NAMES)
def test_a_token_is_plain_text_that_fits_into_a_url(name: str) -> None:
    token = token_after(name)
    assert token.isascii()
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


@pytest.mark.wall
@given(st.text(min_size=1) | st.binary(min_size=1).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_a_token_from_nowhere_is_refused_as_such(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        check_page_token(token, ACME, FULL)
    with pytest.raises(PageTokenInvalid):
        cut_page(sorted_rooms({"a", "b"}), 1, token, ACME, FULL)


def test_odd_tokens_are_refused_as_such() -> None:
    good = token_after("room")
    for token in [
        " ",
        "\ud800",
        "=",
        "====",
        "\0",
        good[1:],
        good + " ",
        " " + good,
        good + "\n",
        good.lower(),
    ]:
        with pytest.raises(PageTokenInvalid):
            check_page_token(token, ACME, FULL)


@pytest.mark.wall
@given(place=st.integers(0, 40), byte=st.integers(0, 255))
def test_a_token_with_a_changed_byte_is_refused_or_names_another_place(place: int, byte: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(token_after("x" * 24)))
    assume(raw[place] != byte)
    raw[place] = byte
    token = base64.urlsafe_b64encode(raw).decode()
    names = {"a", "x" * 24, "y"}
    try:
        page, _ = page_of(names, 9, token)
    except PageTokenInvalid:
        return
    assert place >= 17  # version and binding hold
    assert set(page) <= names


def test_another_alphabet_or_a_later_version_is_refused() -> None:
    raw = base64.urlsafe_b64decode(token_after("a"))
    for odd in (base64.b16encode(raw), base64.urlsafe_b64encode(b"\x02" + raw[1:])):
        with pytest.raises(PageTokenInvalid):
            check_page_token(odd.decode(), ACME, FULL)


def test_no_token_is_the_first_page() -> None:
    check_page_token("", ACME, FULL)


@pytest.mark.parametrize(
    ("requested", "used"),
    [
        (0, DEFAULT_PAGE_SIZE),
        (1, 1),
        (LARGEST_PAGE_SIZE, LARGEST_PAGE_SIZE),
        (LARGEST_PAGE_SIZE + 1, LARGEST_PAGE_SIZE),
        (2**31 - 1, LARGEST_PAGE_SIZE),
    ],
)
def test_page_sizes_have_a_default_and_a_limit(requested: int, used: int) -> None:
    assert (DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE) == (1_000, 50_000)
    assert checked_page_size(requested) == used


@pytest.mark.parametrize("requested", [-1, -(2**31)])
def test_a_negative_page_size_is_refused(requested: int) -> None:
    with pytest.raises(PageSizeInvalid):
        checked_page_size(requested)
