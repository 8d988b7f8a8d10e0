"""Owns what an empty variable means: it counts as unset, unless unset could be less safe than what was meant.

Without AUTH_REQUIRED the wall is open, without the id of a secret it is another tenant's, and without a file
of certificates others are trusted. Empty, such a variable is most likely a slip, and refuses to start.
"""

from typing import Final

_REFUSED: Final = ("AUTH_REQUIRED", "AUTH_API_")
_REFUSED_ENDING: Final = "_FILE"


def refused_when_empty(name: str) -> bool:
    """Whether an empty value of this setting is refused, and not taken for none."""
    return name.startswith(_REFUSED) or name.endswith(_REFUSED_ENDING)
