"""Owns what the service is told of the HTTP request: its headers, which an auth service may want to see.

Before it: `asgi`. After it: `rooms` sends them along as metadata. Which of them may leave for an auth service
is the service's to decide.
"""

from collections.abc import Iterable

import msgspec


def forwarded_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The headers as `common.edge_metadata` has it, in their order; the credential has a place of its own.

    Args:
        headers: names, in lower case, and values as they came.
    """
    # Latin-1 is how HTTP reads bytes that are not ASCII; nothing gets lost.
    return msgspec.json.encode(
        [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in headers
            if name != b"authorization"
        ]
    )
