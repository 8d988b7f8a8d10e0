"""Owns the names of settings: which are nearly the edge's, so most likely misspelt, and which are empty."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

# The service's settings whose names are like ours.
_OF_THE_SERVICE: Final = frozenset(
    {
        "TENANTROOMS_METRICS_LISTEN",
        "TENANTROOMS_TRACES_ENDPOINT",
        "TENANTROOMS_TRACES_RATIO",
        "TENANTROOMS_RATE_STORE_URL",
        "TENANTROOMS_RATE_STORE_URL_FILE",
    }
)

PREFIX: Final = "TENANTROOMS_EDGE_"


def misspelt(environment: Mapping[str, str], names: list[str]) -> Iterator[str]:
    """One problem for each variable that is not one of these names but looks like the edge's."""
    # `HOST` and `PORT` are too common: what is like them may be anybody's.
    ours = [name for name in names if name.startswith("TENANTROOMS_")]
    for name in sorted(environment.keys() - set(names)):
        spelt = name.upper()
        if name in _OF_THE_SERVICE:
            continue
        surely_ours = spelt.startswith(PREFIX)
        # The service's names, which are not known here, are not as close as 0.9 to ours that begin alike.
        grpc = "TENANTROOMS_GRPC_"
        alike = [our for our in ours if our.startswith(grpc) or not spelt.startswith(grpc)]
        near = difflib.get_close_matches(spelt, alike, n=1, cutoff=0.6 if surely_ours else 0.9)
        # Ignored, what is about TLS would leave the way to the service less safe than was meant.
        own = spelt.replace(grpc, f"{PREFIX}GRPC_", 1)
        if spelt.startswith(grpc) and own in names:
            near = [own]
        if near:
            yield f"{name}: no such setting; did you mean {near[0]}?"
        elif surely_ours:
            yield f"{name}: no such setting"


def empty(environment: Mapping[str, str], names: list[str]) -> Iterator[str]:
    """One problem for each of these that must not be empty and is."""
    # Without its file of certificates, or without TLS, the edge would be less safe than was meant.
    for name in names:
        if name.endswith(("_FILE", "_GRPC_TLS")) and environment.get(name) == "":
            yield f"{name}: is empty; give it a value, or unset it"
