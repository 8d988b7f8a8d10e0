"""Owns from which address a request comes: the peer's, or what a trusted proxy says of it.

Before it: granian has the peer's address. After it: `admission` counts by what is found here.

granian's own `wrap_asgi_with_proxy_headers` is not used: it knows no `Forwarded`, and takes a port that a
proxy adds for a part of the address, so that one client would be many.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Final, Literal

from litestar.types import HTTPScope

from common.client_networks import Address, Network, read_address, site_of

HeaderName = Literal["x-forwarded-for", "forwarded"]

UNKNOWN: Final = "unknown"
"""All whose address cannot be told are one."""

_MOST_HOPS: Final = 32
# A node of `X-Forwarded-For` as proxies write it, or of `Forwarded` without its quotes: perhaps with a port.
_NODE: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<ipv4>[0-9.]+)|(?P<bare>[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._-]+)?))(?::\d+)?"
)
_QUOTED: Final = re.compile(r'"([^"]*)"')
# A parameter of `Forwarded` (RFC 7239), and its end. Some proxies leave out the quotes of IPv6 and ports.
_PARAMETER: Final = re.compile(
    r"""[ \t]*(?:(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)="""
    r"""(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s"\\,;]+)))?[ \t]*(?P<end>[,;]|$)"""
)
_MOST_CHARACTERS: Final = 4096
"""Of one `Forwarded` field, which has to be read from its beginning."""


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
        found = self._client_behind(peer, scope) if self._trusts(peer) else peer
        return UNKNOWN if found is None else site_of(found)

    def _client_behind(self, peer: Address, scope: HTTPScope) -> Address | None:
        # Several fields of one name are one list (RFC 9110, 5.3).
        fields = [value.decode("latin-1") for name, value in scope["headers"] if name == self._header]
        nodes = _nodes_of_forwarded if self._header == b"forwarded" else _nodes_of_list
        nearest = peer
        for node in islice(chain.from_iterable(map(nodes, reversed(fields))), _MOST_HOPS):
            found = _address(node)
            if found is None:
                return None  # a trusted proxy does not know whom it heard
            if not self._trusts(found):
                return found
            nearest = found
        return nearest

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _nodes_of_list(field: str) -> Iterator[str]:
    """The nodes of an `X-Forwarded-For`, the last one first."""
    for part in reversed(field.rsplit(",", _MOST_HOPS)):
        node = part.strip()
        quoted = _QUOTED.fullmatch(node)
        yield quoted.group(1) if quoted else node


def _nodes_of_forwarded(field: str) -> Iterator[str]:
    """The nodes of a `Forwarded`, the last one first; one that is no node where it cannot be read.

    Nothing in quotes counts but what a `for` says: a proxy may quote there what the client sent.
    """
    nodes: list[str] = []
    said: str | None = None
    position, ended = 0, len(field) > _MOST_CHARACTERS
    while not ended:
        parameter = _PARAMETER.match(field, position)
        if parameter is None:
            break
        if (parameter["name"] or "").lower() == "for":
            if said is not None:
                break  # each parameter but once
            said = parameter["quoted"] if parameter["plain"] is None else parameter["plain"]
        if parameter["end"] != ";":
            nodes.append(said or "")
            said = None
        position, ended = parameter.end(), not parameter["end"]
    else:
        if nodes:
            return reversed(nodes)
    return iter(("",))


def _address(text: str) -> Address | None:
    node = _NODE.fullmatch(text)
    return None if node is None else read_address(node["ipv6"] or node["ipv4"] or node["bare"])
