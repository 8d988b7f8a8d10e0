"""Owns how the file of tenants is written: JSON or YAML, `tenants: [{id, secrets: [...], role?}]`.

Step before: `service.settings` names the file. Step after: `service.auth.api_secrets` looks secrets up.

What could be read in two ways is refused: a name twice in one mapping, members that do not exist, YAML's
aliases, and values without quotes that YAML takes for a number, a date or a truth value.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from service.auth.api_secrets import ApiSecret
from service.auth.secret_list import Placed, checked

Form = Literal["json", "yaml"]

_FORMS: Final[dict[str, Form]] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
# The C library reads a file of very many tenants in the time that a change may take.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST: Final = 16
_STRING: Final = "tag:yaml.org,2002:str"


class _Tenant(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    id: str
    secrets: list[str] = Field(repr=False)
    role: Literal["tenant", "operator"] = "tenant"


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    tenants: list[_Tenant]


class _AmbiguousError(Exception):
    """The text could be read in two ways; says which, without any text that was given."""


def read_tenants_file(path: Path) -> tuple[ApiSecret, ...]:
    """The secrets in this file, whose name ends in .json, .yaml or .yml.

    Raises:
        OSError: it cannot be read.
        ValueError: with all that is wrong; tenants and secrets are named by their places.
    """
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        raise ValueError(f"names a file that ends in none of {', '.join(_FORMS)}")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError("names a file that cannot be read: it is not UTF-8 text") from None
    return parse_tenants(text, form)


def parse_tenants(text: str, form: Form) -> tuple[ApiSecret, ...]:
    """The secrets in this text.

    Raises:
        ValueError: with all that is wrong; tenants and secrets are named by their places.
    """
    try:
        tenants = _Document.model_validate(_read_json(text) if form == "json" else _read_yaml(text)).tenants
    except ValidationError as error:
        raise ValueError("; ".join(map(_describe, error.errors()))) from None
    except _AmbiguousError as error:
        raise ValueError(str(error)) from None
    except (ValueError, RecursionError, yaml.YAMLError):  # their texts may quote a secret
        shown = (
            '{"tenants": [{"id": "…", "secrets": ["…"]}]}' if form == "json" else "tenants: [{id, secrets}]"
        )
        raise ValueError(f"names a file that is not {form.upper()} of the form {shown}") from None
    problems = [f"tenant {place}: has no secret" for place, each in enumerate(tenants, 1) if not each.secrets]
    if problems:
        raise ValueError("; ".join(problems))
    return checked(
        [
            Placed(
                f"tenant {place}", f"tenant {place}, secret {number}", ApiSecret(each.id, secret, each.role)
            )
            for place, each in enumerate(tenants, 1)
            for number, secret in enumerate(each.secrets, 1)
        ]
    )


def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_mapping)


def _read_yaml(text: str) -> Any:
    depth = 0
    for event in yaml.parse(text, _LOADER):
        match event:
            case yaml.AliasEvent():
                raise _AmbiguousError("has a YAML alias, which is not read: write the value out")
            case yaml.CollectionStartEvent():
                depth += 1
            case yaml.CollectionEndEvent():
                depth -= 1
        if depth > _DEEPEST:  # the C library would crash the process on a text that is far too deep
            raise ValueError("too deep")
    return _plain(yaml.compose(text, _LOADER))


def _plain(node: yaml.Node | None) -> Any:
    """This node as lists, mappings and strings; None for any other value, which is in its place wrong."""
    match node:
        case yaml.MappingNode():
            return _mapping([(_plain(key), _plain(value)) for key, value in node.value])
        case yaml.SequenceNode():
            return [_plain(each) for each in node.value]
        case yaml.ScalarNode(tag=tag) if tag == _STRING:
            return node.value
        case _:
            return None


def _mapping(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if not isinstance(name, str):
            raise _AmbiguousError("has a mapping with a name that is not text")
        if name in mapping:
            raise _AmbiguousError("has a mapping with one name twice")
        mapping[name] = value
    return mapping


def _describe(problem: ErrorDetails) -> str:
    """What is wrong, with the place but without any text that was given: it may be a secret."""
    extra = problem["type"] == "extra_forbidden"
    # pydantic's own text names our class.
    message = "Input should be a mapping" if problem["type"] == "model_type" else problem["msg"]
    match problem["loc"]:
        case ("tenants", int(index), *_) if extra:
            return f"tenant {index + 1}: it has a member other than id, secrets and role"
        case ("tenants", int(index), "secrets", int(number)):
            return f"tenant {index + 1}, secret {number + 1}: {message} (in YAML, in quotes)"
        case ("tenants", int(index), *rest):
            return ": ".join([f"tenant {index + 1}", *map(str, rest), message])
        case _ if extra:
            return "has a member other than tenants"
        case _:
            return f"holds no list of tenants: {message}; its form is not that of AUTH_API_SECRETS_JSON"
