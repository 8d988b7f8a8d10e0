"""The judge of parsers is itself judged: by cases that the RFC settles, and by the values it gives."""

import pytest

from tests.support.json_cases import INVALID_JSON, VALID_JSON
from tests.support.strict_json import NotStrictJsonError, Number, Object, Value, parse


@pytest.mark.parametrize("text", VALID_JSON.values(), ids=VALID_JSON)
def test_valid_text_is_read(text: str) -> None:
    parse(text, max_depth=4)


@pytest.mark.parametrize("text", INVALID_JSON.values(), ids=INVALID_JSON)
def test_invalid_text_is_refused(text: str) -> None:
    with pytest.raises(NotStrictJsonError):
        parse(text, max_depth=4)


VALUES: dict[str, Value] = {
    "null": None,
    "true": True,
    "false": False,
    "-1.50e+2": Number("-1.50e+2"),
    "[1, [], false]": [Number("1"), [], False],
    '{"a": 1, "\\u0061": [null], "a": {}}': Object((("a", Number("1")), ("a", [None]), ("a", Object(())))),
    r'"\u0041\" \\ \/\b\f\n\r\t\uD83D\ude00"': 'A" \\ /\b\f\n\r\t\U0001f600',
    r'"\uDBFF\uDFFF\ud800\udc00"': "\U0010ffff\U00010000",
    '"\u00e9\U0001f600"': "\u00e9\U0001f600",
}


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_values_are_those_that_the_text_spells(text: str, value: Value) -> None:
    assert parse(text, max_depth=2) == value


@pytest.mark.parametrize("text", ["[[[1]]]", '{"a":{"a":{"a":1}}}', '[{"a":[]}]'])
def test_depth_counts_arrays_and_objects_from_1(text: str) -> None:
    parse(text, max_depth=3)
    with pytest.raises(NotStrictJsonError, match="deeper than 2"):
        parse(text, max_depth=2)


def test_depth_is_that_of_nesting_not_of_brackets() -> None:
    parse('[[], [], {"a": "[[[["}]', max_depth=2)
