"""hypothesis strategies for metadata: texts of every kind that the owner rule tells apart.

Texts are put together piece by piece, as spelled: no JSON encoder could write the odd ones.
"""

from hypothesis import strategies as st

from tests.support.json_cases import INVALID_JSON, VALID_JSON

_AUTH_ID = [
    '"auth_id"',
    r'"\u0061uth_id"',
    r'"auth\u005fid"',
    r'"auth\u005Fid"',
    r'"auth_i\u0064"',
    r'"\u0061\u0075\u0074\u0068\u005f\u0069\u0064"',
]
_OTHER_NAMES = [
    '"x"',
    '""',
    '"__proto__"',
    '"Auth_id"',
    '"auth_id "',
    r'"auth_id\u0000"',
    r'"\u0041uth_id"',
    r'"auth\\u005fid"',
    r'"\"auth_id\":"',
    r'"\ud83d\ude00"',
    '"\u00e9"',
]
_STRING_PIECES = [
    "t",
    "Acme",
    "auth_id",
    " ",
    "{",
    "]",
    ",",
    r"\"",
    r"\\",
    r"\/",
    r"\n",
    r"\u0061",
    r"\u00E9",
    r"\ud83d\ude00",
    "\u00e9",
    "e\u0301",
    "\U0001f600",
    "\u2028",
    "\ufeff",
    "\x7f",
]
_HOSTILE_PIECES = [
    *INVALID_JSON.values(),
    *'"\\{}[],:0-+.eEu/',
    ',"auth_id":"t"',
    '"auth_id":"t",',
    r'"\u0061uth_id":1,',
    r"\ud83d",
    r"\ude00",
    "\x00",
    "\n",
    "\ufeff",
    "\ud800",
    "\udfff",
]
_SURROUNDINGS = [
    *"\t\n\r \x00\x0b\x0c\x1c\x85\xa0\u2028\u3000\ufeff\ufffe\ud800,}]0",
    "\u00ef\u00bb\u00bf",
    "//",
    "/**/",
    "{}",
]
_LAYERS = [
    ("[", "]"),
    ('{"a":', "}"),
    ('{"auth_id":', "}"),
    ("[[],", ",{}]"),
    (r'["[{\"",', "]"),
    (r'{"\\":[],"\\\"}":', "}"),
]

_white_space = st.sampled_from(["", "", "", " ", "\n\t", "\r "])
_colons = st.sampled_from([":", ":", ":", " :\n", "\t: "])
_auth_ids = st.sampled_from(_AUTH_ID)
_other_names = st.sampled_from(_OTHER_NAMES)
_strings = st.sampled_from([f'"{one}{two}"' for one in _STRING_PIECES for two in _STRING_PIECES])
_leaves = _strings | st.sampled_from([text for text in VALID_JSON.values() if len(text) < 100])

_json_cases = st.sampled_from([*VALID_JSON.values(), *INVALID_JSON.values()])
_surroundings = st.sampled_from(_SURROUNDINGS)
_hostile_pieces = st.sampled_from(_HOSTILE_PIECES)


def _members(names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(names, _colons, values).map("".join)


def _arrays(elements: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(elements, max_size=3).map(lambda texts: f"[{','.join(texts)}]")


def _objects(members: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(members, max_size=3).map(lambda texts: f"{{{','.join(texts)}}}")


_flat_values = _leaves | _arrays(_leaves) | _objects(_members(_auth_ids | _other_names, _leaves))
_values = _flat_values | _arrays(_flat_values) | _objects(_members(_other_names, _flat_values))


@st.composite
def _deep_values(draw: st.DrawFn) -> str:
    """A value whose nesting is shallow, or near the deepest that the owner rule allows."""
    opening, closing = draw(st.sampled_from(_LAYERS))
    inner_opening, inner_closing = draw(st.sampled_from(_LAYERS))
    levels = draw(st.sampled_from([1, 60, 124, 125, 126, 127, 128, 5_000]))
    value = inner_opening + draw(_leaves) + inner_closing
    return opening * levels + value + closing * levels


_any_members = st.one_of(
    _members(_auth_ids, _strings),
    _members(_other_names, _values),
    _members(_auth_ids | _other_names, _values | _deep_values()),
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Valid JSON: an object, often with an `auth_id` or several, at times very deep."""
    space = draw(_white_space)
    return f"{space}{draw(_objects(_any_members))}{space}"


@st.composite
def odd_documents(draw: st.DrawFn) -> str:
    """A document with one owner and one odd thing somewhere, which may spoil it or be harmless."""
    before = within = value = after = ""
    match draw(st.sampled_from(["before", "within", "value", "deep value", "after"])):
        case "before":
            before = draw(_surroundings)
        case "within":
            within = draw(_hostile_pieces)
        case "value":
            value = draw(_json_cases)
        case "deep value":
            value = draw(_deep_values())
        case _:
            after = draw(_surroundings)
    members = [f'{draw(_auth_ids)}:"acme{within}"', f"{draw(_other_names)}:{value or 0}"]
    return f"{before}{{{','.join(draw(st.permutations(members)))}}}{after}"


@st.composite
def damaged_documents(draw: st.DrawFn) -> str:
    """A document after one small edit or two; most are no longer JSON, some are, with another meaning."""
    text = draw(documents())
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, len(text)))
        piece = draw(st.just("") | _hostile_pieces)
        text = text[:start] + piece + text[start + draw(st.integers(0, 3)) :]
    return text


def any_text() -> st.SearchStrategy[str]:
    """Any str at all, surrogates included."""
    return st.text(st.characters(exclude_categories=()))
