"""Owns how a list of API secrets is written: the JSON of AUTH_API_SECRETS_JSON, and what a secret may be.

Step before: `service.settings` has the text. Step after: `service.auth.api_secrets` looks secrets up.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from service.auth.api_secrets import ApiSecret
from service.auth.bearer import MAX_TOKEN_CHARACTERS, is_token
from service.auth.generated_secrets import is_digest, looks_like_digest
from service.auth.principal import is_tenant_id
from service.auth.unambiguous_json import NameTwice, members_once

SHORTEST_SAFE_SECRET: Final = 32
"""In characters. What is shorter is a word more often than it is random, and nothing slows guessing down."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    id: str
    secret: str = Field(repr=False)
    role: Literal["tenant", "operator"] = "tenant"


_ENTRIES = TypeAdapter(list[_Entry])


class Placed(NamedTuple):
    """A secret, and the words for where its id and it stand, as messages name them."""

    id_place: str
    secret_place: str
    entry: ApiSecret


def check_secret(secret: str) -> None:
    """Refuses a secret that no caller could present, and what only looks like a digest of one.

    Raises:
        ValueError: it is empty, too long, or has characters that a Bearer token cannot have.
    """
    if not secret:
        raise ValueError("is an empty secret")
    if not is_token(secret):
        raise ValueError(f"is not a secret of at most {MAX_TOKEN_CHARACTERS} visible ASCII characters")
    if looks_like_digest(secret) and not is_digest(secret):
        raise ValueError("is not a digest: sha256: and 64 lower-case hexadecimal digits")


def is_short(entry: ApiSecret) -> bool:
    """Whether this secret may be found by guessing; of a digest the secret is always a long one."""
    return not is_digest(entry.secret) and len(entry.secret) < SHORTEST_SAFE_SECRET


def parse_secret_list(text: str) -> tuple[ApiSecret, ...]:
    """The secrets in `[{"id": …, "secret": …, "role": "tenant"|"operator"}, …]`.

    Raises:
        ValueError: with all that is wrong; entries are named by their place, never by their secret.
    """
    try:
        listed = json.loads(text, object_pairs_hook=members_once)
        entries = _ENTRIES.validate_python(listed)
    except ValidationError as error:
        problems = [*map(_describe, error.errors())]
        for others in _secret_problems(_secrets_in(listed)).values():
            problems += others
        raise ValueError("; ".join(dict.fromkeys(problems))) from None
    except NameTwice:
        raise ValueError("has an entry with one member twice") from None
    except (ValueError, RecursionError):
        raise ValueError('is not JSON of the form [{"id": "…", "secret": "…", "role": "tenant"}]') from None
    return checked(
        [
            Placed(f"entry {place}", f"entry {place}", ApiSecret(entry.id, entry.secret, entry.role))
            for place, entry in enumerate(entries, 1)
        ]
    )


def checked(placed: Sequence[Placed]) -> tuple[ApiSecret, ...]:
    """These secrets, when they can stand together.

    Raises:
        ValueError: with all that is wrong.
    """
    problems = [] if placed else ["lists no secret"]
    of_secrets = _secret_problems([(place, entry.secret) for _, place, entry in placed])
    roles: dict[str, str] = {}
    for id_place, secret_place, entry in placed:
        if not is_tenant_id(entry.id):
            problems.append(f"{id_place}: the id is blank, padded with blanks or not valid Unicode")
        problems += of_secrets.get(secret_place, [])
        if roles.setdefault(entry.id, entry.role) != entry.role:
            problems.append(f"{id_place}: another entry gives the same id another role")
    if problems:
        raise ValueError("; ".join(dict.fromkeys(problems)))
    return tuple(entry for _, _, entry in placed)


def _secret_problems(placed: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """What is wrong with these secrets, by the words for where each one stands."""
    problems: dict[str, list[str]] = {}
    used: dict[bytes, list[str]] = {}
    for place, secret in placed:
        try:
            check_secret(secret)
        except ValueError as error:
            problems.setdefault(place, []).append(f"{place}: it {error}")
        used.setdefault(ApiSecret("", secret).fingerprint, []).append(place)
    for places in used.values():
        if len(places) > 1:
            for place in places:
                problems.setdefault(place, []).append(f"{place}: the secret is in more than one entry")
    return problems


def _secrets_in(listed: object) -> Iterator[tuple[str, str]]:
    """Place and secret of each entry that has one, whatever else is wrong with it."""
    for place, entry in enumerate(listed if isinstance(listed, list) else [], 1):
        if isinstance(entry, dict) and isinstance(secret := entry.get("secret"), str):
            yield f"entry {place}", secret


def _describe(problem: ErrorDetails) -> str:
    """What is wrong, with the place but without any text that was given: it may be a secret."""
    match problem["loc"]:
        case (int(index), *_) if problem["type"] == "extra_forbidden":
            return f"entry {index + 1}: it has a member other than id, secret and role"
        case (int(index), str(member)):
            return f"entry {index + 1}: {member}: {problem['msg']}"
        case (int(index),):
            return f"entry {index + 1}: Input should be an object with id and secret"
        case _:
            return problem["msg"]
