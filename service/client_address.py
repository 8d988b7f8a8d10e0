"""Owns from where a call comes: the peer, or what an edge says whose word is taken.

Step before: `service.authentication`, for a token that an auth service has to judge, or whose key has to be
fetched. Step after: `service.auth.question_turns` gives clients their turns, and `service.auth.key_turns`
theirs. Nothing else rests on it: nobody is recognized by an address.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from common.client_networks import Network, read_address, site_of
from common.edge_metadata import CLIENT_ADDRESS_KEY
from service.metadata import Metadata, values_of

_MOST_CHARACTERS: Final = 64
_MOST_REMEMBERED: Final = 1024


class ClientAddresses:
    """Tells clients apart.

    Args:
        edges: the networks of the edges whose word is taken. A peer on a Unix socket is an edge, too: who can
            open it is on this machine, and was let in.
    """

    def __init__(self, edges: Sequence[Network]) -> None:
        self._edges = edges
        self._host = lru_cache(_MOST_REMEMBERED)(self._read)

    def of(self, metadata: Metadata, peer: str) -> str:
        """What this call's client is counted under: one word for each client.

        Args:
            metadata: the call's.
            peer: as gRPC names it: `ipv4:host:port`, `ipv6:[host]:port` or `unix:path`.
        """
        host, is_edge = self._host(peer if peer.startswith("unix") else peer.rpartition(":")[0])
        if is_edge:
            said = values_of(metadata, CLIENT_ADDRESS_KEY)
            if len(said) == 1 and len(said[0]) <= _MOST_CHARACTERS:
                return said[0]
        return host

    def _read(self, peer: str) -> tuple[str, bool]:
        """The word for this peer, and whether it is an edge."""
        if peer.startswith("unix"):
            return "unix", True
        text = peer.partition(":")[2].replace("%5B", "[").replace("%5D", "]").replace("%25", "%").strip("[]")
        address = read_address(text)
        if address is None:
            return peer, False
        if any(address in network for network in self._edges):
            return str(address), True
        return site_of(address), False
