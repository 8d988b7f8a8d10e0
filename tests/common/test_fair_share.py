"""How places are shared: what one may hold, and that none is ever lost."""

from common.fair_share import FairShare


def filled(share: FairShare[str], who: str) -> int:
    """How many more places this one gets."""
    count = 0
    while share.enter(who):
        count += 1
    return count


def test_one_alone_holds_half_and_each_further_one_gets_a_part_of_the_rest() -> None:
    share: FairShare[str] = FairShare(100)
    assert filled(share, "a") == 50
    assert filled(share, "b") == 25
    assert filled(share, "c") == 13
    assert share.enter("d")


def test_who_floods_leaves_a_place_for_each_of_the_others() -> None:
    share: FairShare[str] = FairShare(100)
    filled(share, "flood")
    assert all(share.enter(f"tenant-{number}") for number in range(40))


def test_a_cap_for_each_holds_while_all_else_is_free() -> None:
    share: FairShare[str] = FairShare(100, 3)
    assert filled(share, "a") == 3
    share.leave("a")
    assert filled(share, "a") == 1


def test_places_that_are_left_can_be_had_again_and_nobody_is_remembered() -> None:
    share: FairShare[str] = FairShare(10)
    for who in ("a", "b"):
        for _ in range(filled(share, who)):
            share.leave(who)
    assert len(share) == 0
    assert not share._held
