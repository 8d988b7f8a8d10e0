"""Owns from where a call comes: the peer, or what an edge says whose word is taken.

Step before: `service.authentication`, for a token that an auth service has to judge. Step after:
`service.auth.question_turns` gives clients their turns. Nothing else rests on it: nobody is
recognized by an address.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from service.metadata import Metadata, values_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CLIENT_ADDRESS_KEY: Final = "tenantrooms-client-address"
"""Metadata in which the edge hands on from where the HTTP request came."""

_MOST_CHARACTERS: Final = 64
_IPV6_SITE: Final = 64
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
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
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return peer, False
        address = getattr(address, "ipv4_mapped", None) or address
        if any(address in network for network in self._edges):
            return str(address), True
        if address.version == 4:
            return str(address), False
        if address in _NAT64:  # behind it everybody has an IPv4 address, all within one site (RFC 6052)
            return str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)), False
        # Who has one address of a site mostly has them all.
        site = ipaddress.IPv6Address(int(address) >> _IPV6_SITE << _IPV6_SITE)
        return f"{site}/{_IPV6_SITE}", False
