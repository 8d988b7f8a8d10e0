"""The owner rule and the wall: which metadata names an owner, and who may see its room."""

import itertools
import json
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import Phase, find, given, settings

from service.auth.principal import AllRooms, OneTenant, Scope, TenantId
from service.ownership import MAX_DEPTH, Owner, Ownerless, may_see, owner_of, same_owner
from tests.support.json_cases import INVALID_JSON, VALID_JSON
from tests.support.json_texts import any_text, damaged_documents, documents, odd_documents
from tests.support.strict_json import NestedTooDeepError, NotStrictJsonError, Object, Value, parse

ACME = '{"auth_id":"acme"}'

OWNED = {
    "the plain form": (ACME, "acme"),
    "JSON white space everywhere": ('\t\n\r { \t"auth_id"\n:\r"acme" \t} \n\r', "acme"),
    "among other members": ('{"a":1,"auth_id":"acme","b":[2]}', "acme"),
    "the name partly escaped": (r'{"\u0061uth_id":"acme"}', "acme"),
    "the name wholly escaped": (r'{"\u0061\u0075\u0074\u0068\u005F\u0069\u0064":"acme"}', "acme"),
    "the id escaped": (r'{"auth_id":"\u0061c\u006De"}', "acme"),
    "the id with every short escape": (r'{"auth_id":"\"\\\/\b\f\n\r\t"}', '"\\/\b\f\n\r\t'),
    "the id with an escaped pair": (r'{"auth_id":"\ud83d\ude00"}', "\U0001f600"),
    "the id beyond the BMP": ('{"auth_id":"\U0001f600"}', "\U0001f600"),
    "the id with a NUL": (r'{"auth_id":"acme\u0000"}', "acme\0"),
    "a padded id stays padded": ('{"auth_id":" acme "}', " acme "),
    "a composed id stays composed": ('{"auth_id":"caf\u00e9"}', "caf\u00e9"),
    "a decomposed id stays decomposed": ('{"auth_id":"cafe\u0301"}', "cafe\u0301"),
    "a byte order mark inside the id": ('{"auth_id":"\ufeffacme"}', "\ufeffacme"),
    "an empty id, which is no tenant's": ('{"auth_id":""}', ""),
    "an id that is JSON": (r'{"auth_id":"{\"auth_id\":\"other\"}"}', '{"auth_id":"other"}'),
    "other names repeated": ('{"a":1,"auth_id":"acme","a":2,"":3,"":4}', "acme"),
    "auth_id again, deeper": ('{"auth_id":"acme","a":{"auth_id":"b","auth_id":"c"}}', "acme"),
    "auth_id again, deeper and before": ('{"a":[{"auth_id":"b"}],"auth_id":"acme"}', "acme"),
    "auth_id again, as a value": ('{"a":"auth_id","auth_id":"acme"}', "acme"),
    "auth_id again, in a longer name": ('{"auth_id2":"b","my_auth_id":"c","auth_id":"acme"}', "acme"),
    "auth_id again, in another case": ('{"AUTH_ID":"b","auth_id":"acme"}', "acme"),
    "auth_id again, its escape escaped": (r'{"\\u0061uth_id":"b","auth_id":"acme"}', "acme"),
    "auth_id again, cut by a NUL": (r'{"auth_id\u0000":"b","auth_id":"acme"}', "acme"),
    "__proto__ is a name like others": ('{"__proto__":{"auth_id":"b"},"auth_id":"acme"}', "acme"),
}

OWNERLESS: dict[Ownerless, dict[str, str]] = {
    Ownerless.NO_METADATA: {
        "empty text": "",
    },
    Ownerless.NO_AUTH_ID: {
        "white space": " \n",
        "a bare id": "acme",
        "an empty object": "{}",
        "no auth_id": '{"id":"acme"}',
        "another case": '{"Auth_id":"acme"}',
        "a hyphen": '{"auth-id":"acme"}',
        "a padded name": '{"auth_id ":"acme"}',
        "a dotless i": '{"auth_\u0131d":"acme"}',
        "a name cut by a NUL": r'{"auth_id\u0000":"acme"}',
        "a name whose escape is escaped": r'{"\\u0061uth_id":"acme"}',
        "auth_id only as a value": '{"a":"auth_id"}',
        "auth_id only deeper": '{"a":{"auth_id":"acme"}}',
        "auth_id only in __proto__": '{"__proto__":{"auth_id":"acme"}}',
        "auth_id only in an array": '{"a":[{"auth_id":"acme"}]}',
        "the top level is a number": "7",
        "the top level is null": "null",
    },
    Ownerless.NOT_JSON: {
        "plain text": "auth_id",
        "a byte order mark before, read as Latin-1": "\u00ef\u00bb\u00bf" + ACME,
        "a byte order mark after": ACME + "\ufeff",
        "text before": "x" + ACME,
        "text after": ACME + "x",
        "a NUL after": ACME + "\0",
        "a second value": ACME + "{}",
        "a comma after": ACME + ",",
        "a brace too many": ACME + "}",
        "a brace too few": ACME[:-1],
        "a trailing comma": '{"auth_id":"acme",}',
        "a leading comma": '{,"auth_id":"acme"}',
        "no comma": '{"a":1 "auth_id":"acme"}',
        "a comment": '{"auth_id":"acme"/**/}',
        "white space that is not JSON's": "\u00a0" + ACME,
        "single quotes": "{'auth_id':'acme'}",
        "an unquoted name": '{auth_id:"acme"}',
        "a control character in the id": '{"auth_id":"ac\nme"}',
        "an escaped lone surrogate, and a brace too few": r'{"auth_id":"\ud83d"',
        "a surrogate whose escape is cut short": r'{"auth_id":"\ud83"}',
    },
    Ownerless.BYTE_ORDER_MARK: {
        "a byte order mark before": "\ufeff" + ACME,
    },
    Ownerless.UNPAIRED_SURROGATE: {
        "a lone surrogate in the id": '{"auth_id":"acme\ud800"}',
        "an escaped lone surrogate in the id": r'{"auth_id":"acme\udc00"}',
        "a lone surrogate elsewhere": '{"auth_id":"acme","a":["\udfff"]}',
        "an escaped lone surrogate elsewhere": r'{"auth_id":"acme","a":["\uD83D"]}',
        "an escaped lone surrogate in a name": r'{"\ude00":1,"auth_id":"acme"}',
        "two escaped surrogates in the wrong order": r'{"auth_id":"\ude00\ud83d"}',
        "a lone surrogate after": ACME + "\ud800",
    },
    Ownerless.TOO_DEEP: {
        "deep beside the id": f'{{"auth_id":"acme","a":{"[" * 128}{"]" * 128}}}',
        "deep in the id": f'{{"auth_id":{"[" * 128}{"]" * 128}}}',
        "a deep array": f'{"[" * 129}"auth_id"{"]" * 129}',
    },
    Ownerless.NOT_AN_OBJECT: {
        "the top level is an array": f"[{ACME}]",
        "the top level is an array, after white space": f"\n [{ACME}] ",
        "the top level is a string": r'"{\"auth_id\":\"acme\"}"',
    },
    Ownerless.AUTH_ID_NOT_A_STRING: {
        "auth_id is null": '{"auth_id":null}',
        "auth_id is true": '{"auth_id":true}',
        "auth_id is a number": '{"auth_id":7}',
        "auth_id is a huge number": '{"auth_id":1e999}',
        "auth_id is a number of 5,000 digits": f'{{"auth_id":{"7" * 5000}}}',
        "auth_id is an array": '{"auth_id":["acme"]}',
        "auth_id is an object": '{"auth_id":{"auth_id":"acme"}}',
        "auth_id twice, once not a string": '{"auth_id":null,"auth_id":"acme"}',
        "auth_id twice, then not a string": r'{"auth_id":"acme","auth\u005fid":[]}',
    },
    Ownerless.AUTH_ID_REPEATED: {
        "auth_id twice": '{"auth_id":"acme","auth_id":"other"}',
        "auth_id twice, the same": '{"auth_id":"acme","auth_id":"acme"}',
        "auth_id twice, apart": '{"auth_id":"acme","a":{},"auth_id":"other"}',
        "auth_id twice, once escaped": r'{"auth_id":"acme","\u0061uth_id":"other"}',
        "auth_id twice, once escaped, before": r'{"auth\u005fid":"other","auth_id":"acme"}',
        "auth_id twice, both escaped": r'{"auth_i\u0064":"acme","auth_\u0069d":"acme"}',
        "auth_id three times": '{"auth_id":"acme","auth_id":"acme","auth_id":"acme"}',
    },
}


OWNERLESS_TEXTS = [(text, reason) for reason, texts in OWNERLESS.items() for text in texts.values()]


def owners_named(text: str, max_depth: int) -> list[Value]:
    """The values of all members named auth_id, by the strict reader; none if the text is not JSON."""
    try:
        value = parse(text, max_depth=max_depth)
    except NotStrictJsonError:
        return []
    return [value for name, value in value.members if name == "auth_id"] if isinstance(value, Object) else []


def strict_owner(text: str, max_depth: int = 128) -> str | None:
    """The owner rule over again, by the strict reader."""
    match owners_named(text, max_depth):
        case [str(owner)]:
            return owner
        case _:
            return None


def strict_reasons(text: str) -> set[Ownerless]:
    """All reasons that hold for this text, by the strict reader; none if it has an owner."""
    if not text:
        return {Ownerless.NO_METADATA}
    reasons = set()
    if "auth_id" not in text and "\\u" not in text:
        reasons.add(Ownerless.NO_AUTH_ID)  # such text is not looked at further
    if text.startswith("\ufeff"):
        reasons.add(Ownerless.BYTE_ORDER_MARK)
    if any("\ud800" <= character <= "\udfff" for character in text):
        reasons.add(Ownerless.UNPAIRED_SURROGATE)
    if nests_too_deep(text, 128):
        reasons.add(Ownerless.TOO_DEEP)
    if nests_too_deep(text, 400):  # then nobody reads on
        return reasons | {Ownerless.NOT_JSON}
    if (value := parsed(text, surrogates_alone=True)) is None:
        return reasons | {Ownerless.NOT_JSON}
    if parsed(text) is None:
        reasons.add(Ownerless.UNPAIRED_SURROGATE)
    return reasons | reasons_in(value[0])


def reasons_in(value: Value) -> set[Ownerless]:
    """All reasons that lie in what the text says."""
    if not isinstance(value, Object):
        return {Ownerless.NOT_AN_OBJECT, Ownerless.NO_AUTH_ID}
    owners = [value for name, value in value.members if name == "auth_id"]
    reasons = set()
    if not owners:
        reasons.add(Ownerless.NO_AUTH_ID)
    if len(owners) > 1:
        reasons.add(Ownerless.AUTH_ID_REPEATED)
    if not all(isinstance(owner, str) for owner in owners):
        reasons.add(Ownerless.AUTH_ID_NOT_A_STRING)
    return reasons


def parsed(text: str, *, surrogates_alone: bool = False) -> list[Value] | None:
    """The text's value, by the strict reader, or None if it does not accept the text."""
    try:
        return [parse(text, max_depth=400, surrogates_alone=surrogates_alone)]
    except NotStrictJsonError:
        return None


def nests_too_deep(text: str, max_depth: int) -> bool:
    """Whether the strict reader gives up for a level too much."""
    try:
        parse(text, max_depth=max_depth, surrogates_alone=True)
    except NotStrictJsonError as error:
        return isinstance(error, NestedTooDeepError)
    return False


def agrees_with_the_strict_reader(owner: Owner, text: str) -> bool:
    """Whether this is the owner, or one of the reasons why there is none."""
    if isinstance(owner, Ownerless):
        return strict_owner(text) is None and owner in strict_reasons(text)
    return owner == strict_owner(text)


@pytest.mark.parametrize(("metadata", "owner"), OWNED.values(), ids=OWNED)
def test_metadata_names_its_owner(metadata: str, owner: str) -> None:
    assert owner_of(metadata) == owner
    assert strict_owner(metadata) == owner


@pytest.mark.parametrize(
    ("metadata", "reason"), OWNERLESS_TEXTS, ids=[name for texts in OWNERLESS.values() for name in texts]
)
def test_metadata_names_no_owner(metadata: str, reason: Ownerless) -> None:
    assert owner_of(metadata) is reason
    assert strict_owner(metadata) is None
    assert reason in strict_reasons(metadata)


def test_every_reason_for_having_no_owner_occurs() -> None:
    assert set(OWNERLESS) == set(Ownerless)


PLACES = {
    "after": '{"auth_id":"acme","x":%s}',
    "before": '{"x":%s,"auth_id":"acme"}',
    "deeper": '{"x":[[],{"y":%s}],"auth_id":"acme"}',
    "beside an escaped name": r'{"auth_i\u0064":"acme","x":%s}',
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("value", VALID_JSON.values(), ids=VALID_JSON)
def test_any_valid_value_beside_the_owner_is_ignored(value: str, place: str) -> None:
    assert owner_of(place % value) == "acme"


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("value", INVALID_JSON.values(), ids=INVALID_JSON)
def test_any_invalid_value_anywhere_leaves_no_owner(value: str, place: str) -> None:
    assert isinstance(owner_of(place % value), Ownerless)


def nested(levels: int, opening: str = "[", closing: str = "]", beside: str = "0") -> str:
    """Owned metadata with so many levels inside the top-level object, and another value beside them."""
    return f'{{"auth_id":"acme","x":{opening * levels}0{closing * levels},"y":{beside}}}'


LEVELS = {
    "arrays": ("[", "]"),
    "objects": ('{"a":', "}"),
    "objects named auth_id": ('{"auth_id":', "}"),
    "arrays with brackets in strings": (r'["]}[{\"]",', ',"["]'),
    "objects with strings that end in a backslash": (r'{"\\":"\\\\","[\\\"[":', "}"),
}


@pytest.mark.parametrize(("opening", "closing"), LEVELS.values(), ids=LEVELS)
def test_128_levels_are_allowed_and_129_are_not(opening: str, closing: str) -> None:
    assert MAX_DEPTH == 128
    assert owner_of(nested(127, opening, closing)) == "acme"  # the top-level object is the first level
    assert owner_of(nested(128, opening, closing)) is Ownerless.TOO_DEEP


BRACKETS_THAT_DO_NOT_NEST = {
    "side by side": "[" + "[],{}," * 500 + "0]",
    "in a string": '"' + "[{" * 500 + '"',
    "in a string, after escaped quotes": '"' + r"\"[" * 500 + '"',
    "in a string, after an escaped backslash": r'"\\","z":"' + "[" * 500 + '"',
    "in a name": '{"' + "[" * 500 + '":0}',
}


@pytest.mark.parametrize("beside", BRACKETS_THAT_DO_NOT_NEST.values(), ids=BRACKETS_THAT_DO_NOT_NEST)
def test_brackets_that_do_not_nest_add_no_depth(beside: str) -> None:
    assert owner_of(nested(127, beside=beside)) == "acme"
    assert owner_of(nested(128, beside=beside)) is Ownerless.TOO_DEEP


LIVEKIT_METADATA_LIMIT = 512 * 1024


def filled(start: str, unit: str, end: str) -> str:
    """As much metadata as LiveKit takes, nearly all of it the same few characters."""
    return start + unit * ((LIVEKIT_METADATA_LIMIT - len(start) - len(end)) // len(unit)) + end


LONGEST = {
    "open arrays": (filled('{"auth_id":"acme","x":', "[", ""), Ownerless.TOO_DEEP),
    "open objects": (filled("", '{"auth_id":', ""), Ownerless.TOO_DEEP),
    "100,000 arrays in each other": (nested(100_000), Ownerless.TOO_DEEP),
    "50,000 objects in each other": (nested(50_000, '{"":', "}"), Ownerless.TOO_DEEP),
    "the deepest arrays allowed": (
        filled('{"auth_id":"acme","x":[0', "," + "[" * 126 + "]" * 126, "]}"),
        "acme",
    ),
    "arrays a level too deep": (
        filled('{"auth_id":"acme","x":[0', "," + "[" * 127 + "]" * 127, "]}"),
        Ownerless.TOO_DEEP,
    ),
    "quotes": (filled('{"auth_id":"acme","x":', '"', ""), Ownerless.NOT_JSON),
    "empty strings": (filled(nested(127)[:-1] + ',"z":[0', ',""', "]}"), "acme"),
    "escaped backslashes": (filled(nested(127)[:-1] + ',"z":"', r"\\", '"}'), "acme"),
    "escaped pairs": (filled('{"auth_id":"acme","x":"', r"\ud83d\ude00", '"}'), "acme"),
    "escaped high surrogates": (
        filled('{"auth_id":"acme","x":"', r"\ud83d", '"}'),
        Ownerless.UNPAIRED_SURROGATE,
    ),
    "members": (filled('{"auth_id":"acme"', ',"":0', "}"), "acme"),
    "owners": (filled('{"auth_id":"acme"', ',"auth_id":"acme"', "}"), Ownerless.AUTH_ID_REPEATED),
    "owners deeper": (filled('{"auth_id":"acme","x":[{}', ',{"auth_id":""}', "]}"), "acme"),
    "owners in a string": (filled('{"auth_id":"acme","x":"', "auth_id", '"}'), "acme"),
    "digits": (filled('{"auth_id":"acme","x":', "9", "}"), "acme"),
    "digits for an owner": (filled('{"auth_id":', "9", "}"), Ownerless.AUTH_ID_NOT_A_STRING),
    "floats for a second owner": (
        filled('{"auth_id":"acme","auth_id":[0', ",1.7976931348623157e308", "]}"),
        Ownerless.AUTH_ID_NOT_A_STRING,
    ),
    "escaped pairs, and a brace too few": (
        filled('{"auth_id":"acme","x":"', r"\ud83d\ude00", '"'),
        Ownerless.NOT_JSON,
    ),
    "arrays for an owner": (filled('{"auth_id":[0', ",[]", "]}"), Ownerless.AUTH_ID_NOT_A_STRING),
    "objects for an owner": (
        filled('{"auth_id":[0', ',{"auth_id":{}}', "]}"),
        Ownerless.AUTH_ID_NOT_A_STRING,
    ),
    "floats for an owner": (
        filled('{"auth_id":[0', ",1.7976931348623157e308", "]}"),
        Ownerless.AUTH_ID_NOT_A_STRING,
    ),
    "an id": (filled('{"auth_id":"', "a", '"}'), "a" * (LIVEKIT_METADATA_LIMIT - len('{"auth_id":""}'))),
}


@pytest.mark.parametrize(("metadata", "owner"), LONGEST.values(), ids=LONGEST)
def test_the_longest_hostile_metadata_is_read_like_any_other(metadata: str, owner: str | Ownerless) -> None:
    assert owner_of(metadata) == owner


# Examples are cheap here: more of them than usual, and as many as the hypothesis profile asks for.
MANY = settings(max_examples=max(2_000, settings().max_examples))


@pytest.mark.wall
@MANY
@given(documents() | odd_documents() | damaged_documents())
def test_generated_metadata_has_the_owner_that_the_strict_reader_finds(metadata: str) -> None:
    assert agrees_with_the_strict_reader(owner_of(metadata), metadata)


@pytest.mark.wall
@MANY
@given(any_text())
def test_any_text_at_all_has_the_owner_that_the_strict_reader_finds(metadata: str) -> None:
    assert agrees_with_the_strict_reader(owner_of(metadata), metadata)


GENERATED = {
    "an owner": lambda text: strict_owner(text) is not None,
    "an owner under an escaped name": lambda text: strict_owner(text) is not None and "auth_id" not in text,
    "an owner at the depth limit": lambda text: (
        strict_owner(text) is not None and strict_owner(text, max_depth=127) is None
    ),
    "no owner, for a level too much": lambda text: (
        strict_owner(text) is None and strict_owner(text, max_depth=129) is not None
    ),
    "no owner, in valid JSON with two": lambda text: (
        strict_owner(text) is None and len(owners_named(text, max_depth=128)) == 2
    ),
}


@pytest.mark.parametrize("kind", GENERATED.values(), ids=GENERATED)
def test_generated_metadata_is_of_every_kind(kind: Callable[[str], bool]) -> None:
    once = settings(MANY, phases=[Phase.generate], derandomize=True, database=None)
    find(documents() | odd_documents(), kind, settings=once)


LOOK_ALIKES = [
    "acme", "Acme", "ACME", "acme ", " acme", "acme\n", "\tacme", "acme\u00a0", "acme\u200b", "\ufeffacme",
    "acme\0", "acm", "acme1", "acmeacme", "ac me", "acme-eu", "acme_eu", "acme.eu", "acme/eu",
    "\u0430cme", "acm\u0435", "\uff41\uff43\uff4d\uff45", "a\u0441me",  # homoglyphs: Cyrillic, full width
    "caf\u00e9", "cafe\u0301", "cafe", "CAF\u00c9",  # NFC, NFD, bare, upper case
    "\u212b", "\u00c5", "A\u030a",  # the angstrom sign and the letter, composed and decomposed
    "stra\u00dfe", "strasse", "STRASSE", "\u0131d", "id", "\u0130d", "i\u0307d", "\ufb01n", "fin",
    "1", "01", "1.0", "\u0661", "\u00b9", "", " ", "null", "None", "true", "*", "%", "\U0001f600", "\ue000",
]  # fmt: skip

SPELLINGS: dict[str, Callable[[str], str]] = {
    "bare": lambda text: json.dumps(text, ensure_ascii=False),
    "escaped where not ASCII": json.dumps,
    "escaped throughout": lambda text: '"' + "".join(
        f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16")[2:]).cast("H")
    ) + '"',
}  # fmt: skip


@pytest.mark.wall
@pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)
def test_no_tenant_sees_the_room_of_a_look_alike(spelled: Callable[[str], str]) -> None:
    seen = [
        (tenant, owner)
        for tenant, owner in itertools.product(range(len(LOOK_ALIKES)), repeat=2)
        if may_see(
            OneTenant(TenantId(LOOK_ALIKES[tenant])), owner_of(f'{{"auth_id":{spelled(LOOK_ALIKES[owner])}}}')
        )
    ]

    assert seen == [(each, each) for each in range(len(LOOK_ALIKES))]


ACME_ONLY = OneTenant(TenantId("acme"))

VIEWS: list[tuple[Scope, str | Ownerless, bool]] = [
    (AllRooms(), "acme", True),
    (AllRooms(), "", True),
    *((AllRooms(), reason, True) for reason in Ownerless),
    (ACME_ONLY, "acme", True),
    (ACME_ONLY, "other", False),
    (ACME_ONLY, "", False),
    *((ACME_ONLY, reason, False) for reason in Ownerless),
    *((OneTenant(TenantId(reason.value)), reason, False) for reason in Ownerless),
    *((OneTenant(TenantId(reason.name)), reason, False) for reason in Ownerless),
    # not even by a mistake elsewhere
    *((OneTenant(cast(TenantId, reason)), reason, False) for reason in Ownerless),
    (OneTenant(cast(TenantId, None)), cast(Ownerless, None), False),
]


@pytest.mark.parametrize(("scope", "owner", "visible"), VIEWS)
def test_a_tenant_sees_its_own_rooms_and_an_operator_all(scope: Scope, owner: Owner, visible: bool) -> None:
    assert may_see(scope, owner) is visible


SAME: list[tuple[str | Ownerless, str | Ownerless, bool]] = [
    ("acme", "acme", True),
    ("acme", "Acme", False),
    ("acme", Ownerless.NO_AUTH_ID, False),
    ("no_auth_id", Ownerless.NO_AUTH_ID, False),
    (Ownerless.NO_METADATA, Ownerless.NO_METADATA, True),
    (Ownerless.NO_METADATA, Ownerless.NOT_JSON, True),
]


@pytest.mark.parametrize(("one", "other", "same"), SAME)
def test_a_room_changes_hands_only_from_or_to_a_tenant(one: Owner, other: Owner, same: bool) -> None:
    assert same_owner(one, other) is same
    assert same_owner(other, one) is same
