"""Owns request ids: the caller's own where it is well formed, else a new one.

Step before: the caller, or nobody, has sent one. Step after: the id is in the logs of both processes, and in
the answer.
"""

import re
import secrets
from collections.abc import Iterable
from typing import Final

_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")

_RANDOM_BYTES: Final = 8
"""In a new id. Two of them do not say how many requests of others were between."""


def chosen_request_id(sent: Iterable[str]) -> str:
    """The id of a request: the one well-formed id among those that were sent with it, or a new one."""
    ids = set(sent)
    if len(ids) == 1 and _WELL_FORMED.fullmatch(value := ids.pop()):
        return value
    return secrets.token_hex(_RANDOM_BYTES)
