"""The file of tenants: what is read, what is refused, and that no secret is ever told."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from service.auth.api_secrets import ApiSecret
from service.auth.generated_secrets import digest_of, new_secret
from service.auth.tenants_file import Form, parse_tenants, read_tenants_file

CANARY = "canary-5ecret"
DIGEST = digest_of(new_secret())

GOOD: dict[str, tuple[list[dict[str, Any]], list[ApiSecret]]] = {
    "one tenant": ([{"id": "acme", "secrets": [CANARY]}], [ApiSecret("acme", CANARY)]),
    "several secrets, one as a digest": (
        [{"id": "acme", "secrets": [CANARY, DIGEST]}],
        [ApiSecret("acme", CANARY), ApiSecret("acme", DIGEST)],
    ),
    "both roles": (
        [
            {"id": "acme", "secrets": ["a"], "role": "tenant"},
            {"id": "on-call", "secrets": ["b"], "role": "operator"},
        ],
        [ApiSecret("acme", "a"), ApiSecret("on-call", "b", "operator")],
    ),
    "one tenant in two places": (
        [{"id": "acme", "secrets": ["a"]}, {"id": "acme", "secrets": ["b"]}],
        [ApiSecret("acme", "a"), ApiSecret("acme", "b")],
    ),
    "what looks like other types, in quotes": (
        [{"id": "no", "secrets": ["12345", "1e5", "null", "2030-01-01"]}],
        [ApiSecret("no", secret) for secret in ("12345", "1e5", "null", "2030-01-01")],
    ),
    "an id beyond ASCII": (
        [{"id": "caf\u00e9 \U0001f600", "secrets": ["a"]}],
        [ApiSecret("caf\u00e9 \U0001f600", "a")],
    ),
}


@pytest.mark.parametrize(("tenants", "secrets"), GOOD.values(), ids=GOOD)
def test_both_forms_are_read_alike(tenants: list[dict[str, Any]], secrets: list[ApiSecret]) -> None:
    document = {"tenants": tenants}
    assert parse_tenants(json.dumps(document), "json") == tuple(secrets)
    assert parse_tenants(yaml.safe_dump(document), "yaml") == tuple(secrets)
    assert parse_tenants(json.dumps(document, ensure_ascii=False), "yaml") == tuple(secrets)


def test_a_file_as_people_write_it_is_read() -> None:
    text = """
    # Who may ask
    tenants:
      - id: acme
        secrets:
          - old-secret   # until the summer
          - "new:secret"
      - {id: on-call, role: operator, secrets: [s]}
    """
    assert parse_tenants(text, "yaml") == (
        ApiSecret("acme", "old-secret"),
        ApiSecret("acme", "new:secret"),
        ApiSecret("on-call", "s", "operator"),
    )


BAD: dict[str, tuple[Any, str]] = {
    "a list": (
        [{"id": "acme", "secrets": [CANARY]}],
        "holds no list of tenants: Input should be a mapping; its form is not that of",
    ),
    "a text": (CANARY, "holds no list of tenants"),
    "nothing": (None, "holds no list of tenants"),
    "no tenants": ({}, "holds no list of tenants"),
    "tenants that are a text": ({"tenants": CANARY}, "holds no list of tenants"),
    "tenants by name": ({"tenants": {"acme": [CANARY]}}, "holds no list of tenants"),
    "an empty list": ({"tenants": []}, "lists no secret"),
    "another member": ({"tenants": [], CANARY: 1}, "has a member other than tenants"),
    "a tenant that is a text": ({"tenants": [CANARY]}, "tenant 1: Input should be a mapping"),
    "no id": ({"tenants": [{"secrets": [CANARY]}]}, "tenant 1: id: Field required"),
    "no secrets": ({"tenants": [{"id": "a"}]}, "tenant 1: secrets: Field required"),
    "an empty list of secrets": ({"tenants": [{"id": "a", "secrets": []}]}, "tenant 1: has no secret"),
    "one secret that is no list": ({"tenants": [{"id": "a", "secrets": CANARY}]}, "tenant 1: secrets: Input"),
    "a secret that is a number": (
        {"tenants": [{"id": "a", "secrets": ["x", 5]}]},
        "tenant 1, secret 2: Input should be a valid string",
    ),
    "a secret that is null": ({"tenants": [{"id": "a", "secrets": [None]}]}, "tenant 1, secret 1: Input"),
    "an id that is a number": ({"tenants": [{"id": 5, "secrets": [CANARY]}]}, "tenant 1: id: Input"),
    "an id that is a truth value": ({"tenants": [{"id": False, "secrets": [CANARY]}]}, "tenant 1: id: Input"),
    "a blank id": ({"tenants": [{"id": " ", "secrets": [CANARY]}]}, "tenant 1: the id is blank"),
    "an unknown role": ({"tenants": [{"id": "a", "secrets": ["s"], "role": CANARY}]}, "1: role: Input"),
    "another member of a tenant": (
        {"tenants": [{"id": "a", "secrets": ["s"], CANARY: 1}]},
        "tenant 1: it has a member other than id, secrets and role",
    ),
    "an empty secret": ({"tenants": [{"id": "a", "secrets": [""]}]}, "secret 1: it is an empty secret"),
    "a secret with a blank": ({"tenants": [{"id": "a", "secrets": [f"{CANARY} x"]}]}, "visible ASCII"),
    "no digest": ({"tenants": [{"id": "a", "secrets": ["sha256:" + CANARY]}]}, "it is not a digest"),
    "a secret twice in one tenant": (
        {"tenants": [{"id": "a", "secrets": ["x", CANARY, CANARY]}]},
        "tenant 1, secret 3: the secret is in more than one entry",
    ),
    "a secret of two tenants": (
        {"tenants": [{"id": "a", "secrets": [CANARY]}, {"id": "b", "secrets": ["x", CANARY]}]},
        "tenant 2, secret 2: the secret is in more than one entry",
    ),
    "one id with two roles": (
        {"tenants": [{"id": "a", "secrets": ["x"]}, {"id": "a", "secrets": ["y"], "role": "operator"}]},
        "tenant 2: another entry gives the same id another role",
    ),
}  # fmt: skip


def refusal(text: str, form: Form) -> str:
    with pytest.raises(ValueError, match=r"^[a-z]") as refused:
        parse_tenants(text, form)
    assert CANARY not in f"{refused.value!s} {refused.value!r} {refused.value.__cause__!r}"
    return str(refused.value)


@pytest.mark.parametrize(("document", "problem"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_in_either_form_without_telling_a_secret(document: Any, problem: str) -> None:
    assert problem in refusal(json.dumps(document), "json")
    assert problem in refusal(yaml.safe_dump(document), "yaml")


TWICE = "has a mapping with one name twice"
BAD_TEXTS: dict[str, tuple[Form, str, str]] = {
    "no JSON": ("json", CANARY, "is not JSON of the form"),
    "YAML in a JSON file": ("json", f"tenants: [{{id: a, secrets: [{CANARY}]}}]", "is not JSON"),
    "JSON that breaks off": ("json", f'{{"tenants": [{{"id": "{CANARY}"', "is not JSON"),
    "JSON too deep": ("json", "[" * 100_000, "is not JSON"),
    "no YAML": ("yaml", f"tenants: [{CANARY}", "is not YAML of the form"),
    "YAML too deep": ("yaml", "[" * 100_000, "is not YAML"),
    "an empty file": ("yaml", "", "holds no list of tenants"),
    "two documents": ("yaml", f"tenants: []\n---\n{CANARY}", "is not YAML"),
    "a control character": ("yaml", f"tenants: [{CANARY}\0]", "is not YAML"),
    "tenants twice, JSON": ("json", '{"tenants": [], "tenants": []}', TWICE),
    "tenants twice, YAML": ("yaml", "tenants: []\ntenants: []", TWICE),
    "an id twice, JSON": ("json", f'{{"tenants": [{{"id": "a", "id": "{CANARY}"}}]}}', TWICE),
    "an id twice, YAML": ("yaml", f"tenants: [{{id: a, id: {CANARY}, secrets: [s]}}]", TWICE),
    "an id twice, differently escaped": ("json", r'{"tenants": [{"id": "a", "\u0069d": "b"}]}', TWICE),
    "an alias": ("yaml", f"tenants: [{{id: &a {CANARY}, secrets: [*a]}}]", "has a YAML alias"),
    "aliases without end": ("yaml", "tenants: &a [*a]", "has a YAML alias"),
    "a merge": ("yaml", f"tenants: [{{<<: {{id: {CANARY}}}, secrets: [s]}}]", "a name that is not text"),
    "a name that is a number": ("yaml", f"tenants: [{{5: {CANARY}}}]", "a name that is not text"),
    "an id that YAML takes for a truth value": ("yaml", "tenants: [{id: no, secrets: [s]}]", "1: id: Input"),
    "a secret without quotes that is a number": ("yaml", "tenants: [{id: a, secrets: [0123]}]", "in quotes"),
    "a binary": ("yaml", "tenants: [{id: a, secrets: [!!binary czNjcmV0]}]", "secret 1: Input"),
    "a Python object": ("yaml", f"tenants: [!!python/object:os.system [{CANARY}]]", "tenant 1: "),
}  # fmt: skip


@pytest.mark.parametrize(("form", "text", "problem"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_a_text_that_cannot_be_read_or_in_two_ways_is_refused(form: Form, text: str, problem: str) -> None:
    assert problem in refusal(text, form)


@given(text=st.text(max_size=60), form=st.sampled_from(["json", "yaml"]))
def test_any_text_is_read_or_refused(text: str, form: Form) -> None:
    with pytest.raises(ValueError, match=r"^[a-z]"):
        parse_tenants(text, form)


def test_all_problems_are_told_at_once() -> None:
    document = {"tenants": [{"id": " ", "secrets": ["", "\u00e9"]}, {"id": "b", "secrets": ["x", "x"]}]}
    assert len(refusal(json.dumps(document), "json").split("; ")) == 5


@pytest.mark.parametrize("name", ["t.json", "t.yaml", "t.yml", "t.JSON", "t.Yaml"])
def test_the_form_goes_by_the_ending_of_the_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"tenants": [{"id": "acme", "secrets": ["s"]}]}')
    assert read_tenants_file(tmp_path / name) == (ApiSecret("acme", "s"),)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("tenants", b"tenants: []", "names a file that ends in none of .json, .yaml, .yml"),
        ("tenants.toml", b"tenants: []", "names a file that ends in none of .json, .yaml, .yml"),
        ("t.yaml", b"tenants: [\xe9]", "it is not UTF-8 text"),
        ("t.json", b"\xff\xfe", "it is not UTF-8 text"),
    ],
)
def test_another_ending_or_encoding_is_refused(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(problem)):
        read_tenants_file(tmp_path / name)
