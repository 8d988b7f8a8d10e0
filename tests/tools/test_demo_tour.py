"""How answers stand on the demo's screen."""

import json

import pytest

from tools.demo_tour import ROOMS_SHOWN, shortened


def listing(count: int) -> str:
    return json.dumps(
        {"rooms": [{"name": f"room-{number}"} for number in range(count)]}, separators=(",", ":")
    )


@pytest.mark.parametrize(
    "body",
    [
        listing(0),
        listing(1),
        listing(ROOMS_SHOWN),
        '{"sid":"RM_1","metadata":"{\\"auth_id\\": 1}","participants":[{"identity":"ä"},{"identity":"b"}]}',
        '{"error":"Room not found or not accessible"}',
    ],
)
def test_an_answer_that_is_short_enough_is_shown_in_full(body: str) -> None:
    assert json.loads(shortened(body)) == json.loads(body)
    assert shortened(body).replace("\n   ", "") == body


def test_of_a_long_list_the_first_rooms_are_shown_and_the_others_counted() -> None:
    shown = shortened(listing(ROOMS_SHOWN + 1_500)).splitlines()
    assert len(shown) == 1 + ROOMS_SHOWN + 1
    assert shown[1].strip() == '{"name":"room-0"},'
    assert "1,500 more" in shown[-1]
