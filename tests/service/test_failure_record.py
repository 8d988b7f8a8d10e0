"""What the log tells of a failure: enough to find it, and no text that nobody has checked."""

import json

from service.errors import LiveKitFailed
from service.failure_record import failure_record

CANARY = "canary-5ecret"


def caught(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        lead_to(error, cause)
    except type(error) as raised:
        return raised
    raise AssertionError("unreachable")


def lead_to(error: Exception, cause: Exception | None) -> None:
    before = cause or KeyError(CANARY)
    try:
        raise before
    except type(before):
        raise error from cause


def test_of_a_foreseen_failure_the_text_is_told() -> None:
    error = LiveKitFailed("ListRooms: the answer broke off")
    assert failure_record(error, foreseen=True) == {"detail": "ListRooms: the answer broke off"}


def test_of_an_unforeseen_failure_kinds_and_places_are_told_and_no_text() -> None:
    record = failure_record(caught(RuntimeError(CANARY), OSError(CANARY)), foreseen=False)
    (after,) = record["after"]
    assert (record["error"], after["error"]) == ("RuntimeError", "OSError")
    assert [place.partition(" ")[2] for place in record["at"]] == ["caught", "lead_to"]
    assert [place.partition(" ")[2] for place in after["at"]] == ["lead_to"]
    assert all(place.startswith(f"{__file__}:") for place in record["at"] + after["at"])
    assert CANARY not in json.dumps(record)


def test_what_a_traceback_would_not_show_is_not_told() -> None:
    assert "after" not in failure_record(caught(RuntimeError(CANARY)), foreseen=False)


def test_a_failure_that_led_to_itself_is_told_with_an_end() -> None:
    one, other = RuntimeError(), ValueError()
    one.__context__, other.__context__ = other, one
    assert len(json.dumps(failure_record(one, foreseen=False))) < 1000
