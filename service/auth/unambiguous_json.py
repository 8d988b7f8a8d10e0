"""Owns reading JSON objects in which no name stands twice: which of two values counts must not be a guess.

For `json.loads(…, object_pairs_hook=members_once)`, wherever a value says who somebody is.
"""

from typing import Any


class NameTwice(ValueError):
    """A name stands twice in one object."""

    def __init__(self) -> None:
        super().__init__("a name stands twice")


def members_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object with these members.

    Raises:
        NameTwice: see there.
    """
    found = dict(members)
    if len(found) < len(members):
        raise NameTwice
    return found
