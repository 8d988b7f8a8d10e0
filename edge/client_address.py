"""Owns from which address a request comes: the peer's, or what a trusted proxy says of it.

Before it: granian has the peer's address. After it: `admission` counts by what is found here.

granian's own `wrap_asgi_with_proxy_headers` is not used: it knows no `Forwarded`, and takes a port that a
proxy adds for a part of the address, so that one client would be many.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, Literal

from litestar.types import HTTPScope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
HeaderName = Literal["x-forwarded-for", "forwarded"]

UNKNOWN: Final = "unknown"
"""All whose address cannot be told are one."""

_MOST_HOPS: Final = 32
_IPV6_SITE: Final = 64
# A node of `Forwarded` (RFC 7239), or of `X-Forwarded-For` as proxies write it: perhaps quoted, with a port.
_NODE: Final = re.compile(
    r'"?(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<ipv4>[0-9.]+)|(?P<bare>[0-9A-Fa-f:.]+))(?::\d+)?"?'
)
_FOR: Final = re.compile(r'(?:^|;)\s*for=("[^"]*"|[^;\s]*)\s*(?:;|$)', re.IGNORECASE)


class ClientAddresses:
    """Tells the address of the client from those of the proxies before the edge.

    A proxy adds at the end of the header whom it heard, and what stands before that may be the client's
    invention. So it is read from its end, for as long as it speaks of trusted proxies.

    Args:
        trusted: the networks of the proxies whose word is taken; none means that nobody's is.
        header: the one header that those proxies write. The other may be the client's invention.
    """

    def __init__(self, trusted: Sequence[Network], header: HeaderName) -> None:
        self._trusted = trusted
        self._header = header.encode("ascii")

    def of(self, scope: HTTPScope) -> str:
        """What to count a request under: an IPv4 address, an IPv6 network of a site, or `unknown`."""
        client = scope["client"]
        if client is None:
            return UNKNOWN
        if not self._trusted and ":" not in client[0]:
            return client[0]
        peer = _address(client[0])
        if peer is None:
            return UNKNOWN
        return _site(self._client_behind(peer, scope) if self._trusts(peer) else peer)

    def _client_behind(self, peer: Address, scope: HTTPScope) -> Address | None:
        # Several fields of one name are one list (RFC 9110, 5.3).
        fields = [value.decode("latin-1") for name, value in scope["headers"] if name == self._header]
        nearest = peer
        for node in reversed(",".join(fields).split(",")[-_MOST_HOPS:] if fields else []):
            found = self._node(node)
            if found is None:
                return None  # a trusted proxy does not know whom it heard
            if not self._trusts(found):
                return found
            nearest = found
        return nearest

    def _node(self, node: str) -> Address | None:
        node = node.strip()
        if self._header == b"forwarded":
            said = _FOR.search(node)
            node = said.group(1) if said else ""
        return _address(node)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _address(text: str) -> Address | None:
    node = _NODE.fullmatch(text)
    if node is None:
        return None
    try:
        address = ipaddress.ip_address(node["ipv6"] or node["ipv4"] or node["bare"])
    except ValueError:
        return None
    # What a socket for both says of an IPv4 peer.
    return getattr(address, "ipv4_mapped", None) or address


def _site(address: Address | None) -> str:
    """One who has an IPv6 address mostly has all of its network."""
    if address is None:
        return UNKNOWN
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_SITE), strict=False))
