"""Owns what the service is told of the HTTP request: its headers, which an auth service may want to see.

Before it: `asgi`. After it: `rooms` sends them along as metadata. Which of them may leave for an auth service
is the service's to decide. From where the request came is for the service alone.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

FORWARDED_HEADERS_KEY: Final = "tenantrooms-forwarded-headers-bin"
"""The metadata key under which the service looks for them: JSON, `[[name, value], …]`."""

CLIENT_ADDRESS_KEY: Final = "tenantrooms-client-address"
"""The metadata key under which the service looks for the client's address, if it trusts this edge."""


def forwarded_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The headers as that metadata, in their order; the credential has a place of its own.

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
