"""Owns what is known of a request by the time that a handler sees it.

Before it: `asgi` puts it into the scope. After it: `rooms` reads it there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from edge.credentials import Credential
from edge.watch import Seen

_KEY: Final = "tenantrooms_call"


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        request_id: 1 to 128 characters `[A-Za-z0-9._-]`.
        credential: what the caller presents.
        room_name: the decoded name from the path; empty on routes without one.
        headers: names, in lower case, and values as they came.
        address: under what it is counted, as `client_address` tells; empty where it is not.
        seen: what has been seen of it.
    """

    request_id: str
    credential: Credential
    room_name: str
    headers: Sequence[tuple[bytes, bytes]] = field(default=(), repr=False)
    address: str = ""
    seen: Seen = field(default_factory=lambda: Seen("", ""), repr=False)


def state_with(call: Call, state: Mapping[str, Any]) -> dict[str, Any]:
    """The scope's `state`, with the call in it."""
    return {**state, _KEY: call}


def call_in(state: Mapping[str, Any]) -> Call:
    """The call that `state_with` put into the scope's `state`."""
    return cast("Call", state[_KEY])
