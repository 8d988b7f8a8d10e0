"""Owns the names of settings: finds those that are nearly ours, and so most likely misspelt."""

import difflib
from collections.abc import Collection, Iterable, Iterator
from typing import Final

_EDGE_ONLY: Final = ("TENANTROOMS_EDGE_", "TENANTROOMS_GRPC_TARGET")


def misspelt(given: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """One problem for each name that is not known but looks like ours.

    A misspelt AUTH_REQUIRED must not leave the wall open; another program's AUTH_… is none of our business.
    """
    by_letters = {_letters(name): name for name in known}
    for name in given:
        spelled = name.upper()
        if name in known or spelled.startswith(_EDGE_ONLY):
            continue
        ours = spelled.startswith("TENANTROOMS_")
        near = [by_letters[letters]] if (letters := _letters(name)) in by_letters else []
        if not near and (ours or spelled.startswith(("AUT", "LIVE"))):
            near = difflib.get_close_matches(spelled, known, n=1, cutoff=0.6 if ours else 0.85)
        if spelled.removesuffix("_FILE") in known:
            yield f"{name} is not a setting; only secrets may come from files, and names are upper case"
        elif near:
            yield f"{name} is not a setting; did you mean {near[0]}?"
        elif ours:
            yield f"{name} is not a setting; unset it"


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.upper()))
