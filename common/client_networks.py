"""Owns which addresses are one client, and how settings name the networks whose word is taken about that.

Step before: `edge.client_address` or `service.client_address` has the address. Step after: calls are counted
under the word that is given here.
"""

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV6_SITE: Final = 64
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def read_networks(value: object) -> object:
    """The networks in a text like `10.0.0.0/8,::1`; anything but a text as it is.

    Raises:
        ValueError: there is something else in it; its text does not hold the value.
    """
    if not isinstance(value, str):
        return value
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in value.split(","))
    except ValueError:
        raise ValueError("must be addresses or networks like 10.0.0.0/8, separated by commas") from None


def read_address(text: str) -> Address | None:
    """The address in this text, an IPv4 one for what a socket for both says of an IPv4 peer; else None."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def site_of(address: Address) -> str:
    """An IPv4 address, or an IPv6 network: who has one of its addresses mostly has them all."""
    if address.version == 4:
        return str(address)
    if address in _NAT64:  # behind it everybody has an IPv4 address, all within one network (RFC 6052)
        return str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return str(ipaddress.IPv6Network((int(address), _IPV6_SITE), strict=False))
