"""The tokens shown to LiveKit: least grant, few minutes, reused, and not kept without bound."""

from typing import Any

import jwt
import pytest

from service.livekit_tokens import (
    LIFETIME_SECONDS,
    MOST_ROOM_TOKENS_KEPT,
    RENEW_BEFORE_EXPIRY_SECONDS,
    AccessTokens,
)

KEY, SECRET = "devkey", "a-secret-of-at-least-thirty-two-bytes"
NOON = 1_800_000_000.75


class Clock:
    """Unix time that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> AccessTokens:
    return AccessTokens(KEY, SECRET, clock)


def claims(token: str) -> dict[str, Any]:
    """What the token says, its signature verified, its times not."""
    options: Any = {"verify_exp": False, "verify_nbf": False}
    return jwt.decode(token, SECRET, algorithms=["HS256"], options=options)


TIMES = {"iss": KEY, "nbf": int(NOON), "exp": int(NOON) + LIFETIME_SECONDS}


def test_the_token_for_lists_allows_lists_and_nothing_else(tokens: AccessTokens) -> None:
    assert claims(tokens.for_listing()) == {**TIMES, "video": {"roomList": True}}


@pytest.mark.parametrize("name", ["lobby", "a/b", "caf\u00e9", "cafe\u0301", '"}\0', "", "x" * 256])
def test_the_token_for_a_room_allows_that_room_and_no_other(tokens: AccessTokens, name: str) -> None:
    assert claims(tokens.for_room(name)) == {**TIMES, "video": {"roomAdmin": True, "room": name}}


def test_a_room_named_none_does_not_get_the_token_for_lists(tokens: AccessTokens) -> None:
    listing = tokens.for_listing()
    assert tokens.for_room("None") != listing != tokens.for_room("")


def test_it_is_signed_with_hs256_and_the_secret(tokens: AccessTokens) -> None:
    token = tokens.for_listing()
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, SECRET[::-1], algorithms=["HS256"])


def test_it_lives_for_minutes() -> None:
    assert LIFETIME_SECONDS <= 15 * 60


# Seconds since it was signed, and whether it is still used.
AGES = [
    (0, True),
    (LIFETIME_SECONDS - RENEW_BEFORE_EXPIRY_SECONDS - 1, True),
    (LIFETIME_SECONDS - RENEW_BEFORE_EXPIRY_SECONDS, False),
    (LIFETIME_SECONDS + 1, False),
    (-1, False),  # the clock was set back: LiveKit could find the kept one not yet valid
    (-86_400, False),
]


@pytest.mark.parametrize(("age", "reused"), AGES)
@pytest.mark.parametrize("room", [None, "lobby"])
def test_a_token_is_reused_until_shortly_before_it_expires(
    tokens: AccessTokens, clock: Clock, room: str | None, age: float, reused: bool
) -> None:
    def current() -> str:
        return tokens.for_listing() if room is None else tokens.for_room(room)

    first = current()
    clock.now += age
    second = current()
    assert (second == first) is reused
    assert claims(second)["nbf"] <= clock.now
    assert claims(second)["exp"] >= clock.now + RENEW_BEFORE_EXPIRY_SECONDS


def test_a_token_signed_after_the_clock_was_set_back_is_kept_too(tokens: AccessTokens, clock: Clock) -> None:
    tokens.for_listing()
    clock.now -= 3_600
    renewed = tokens.for_listing()
    clock.now += 60
    assert tokens.for_listing() == renewed


def test_the_tokens_kept_are_bounded_and_those_in_use_stay(tokens: AccessTokens, clock: Clock) -> None:
    listing, busy = tokens.for_listing(), tokens.for_room("busy")
    clock.now += 1  # from here on a new token differs from a kept one
    for number in range(MOST_ROOM_TOKENS_KEPT + 10):
        tokens.for_room(f"room {number}")
        assert tokens.for_room("busy") == busy
        assert tokens.for_listing() == listing
    assert len(tokens._kept) == MOST_ROOM_TOKENS_KEPT


def test_with_another_key_every_token_is_signed_anew(tokens: AccessTokens) -> None:
    before = tokens.for_listing(), tokens.for_room("lobby")
    tokens.sign_with("next-key", SECRET)
    after = tokens.for_listing(), tokens.for_room("lobby")
    assert {claims(token)["iss"] for token in before} == {KEY}
    assert {claims(token)["iss"] for token in after} == {"next-key"}


def test_with_the_same_key_tokens_are_kept(tokens: AccessTokens, clock: Clock) -> None:
    before = tokens.for_listing()
    clock.now += 1
    tokens.sign_with(KEY, SECRET)
    assert tokens.for_listing() == before
