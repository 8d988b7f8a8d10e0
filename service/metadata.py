"""Owns reading gRPC metadata: the text values of one key, in the order in which they came."""

from collections.abc import Iterable

Metadata = Iterable[tuple[str, str | bytes]] | None


def values_of(metadata: Metadata, key: str) -> list[str]:
    """All text values under this key, which is given in lower case, as gRPC sends keys."""
    return [value for name, value in metadata or () if name == key and isinstance(value, str)]
