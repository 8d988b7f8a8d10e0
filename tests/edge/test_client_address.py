"""Whom a request is counted for: never whom a client makes up."""

import ipaddress
from typing import Any

import pytest

from edge.client_address import ClientAddresses, HeaderName

TRUSTED = [ipaddress.ip_network(network) for network in ("10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48")]


def found(peer: str | None, *fields: str, header: HeaderName = "x-forwarded-for", trusts: bool = True) -> str:
    scope: Any = {
        "client": None if peer is None else (peer, 4000),
        "headers": [(header.encode(), field.encode("latin-1")) for field in fields],
    }
    return ClientAddresses(TRUSTED if trusts else [], header).of(scope)


CASES: dict[str, tuple[str | None, tuple[str, ...], str]] = {
    "no header": ("198.51.100.1", (), "198.51.100.1"),
    "a client that is its own proxy": ("198.51.100.1", ("203.0.113.9",), "198.51.100.1"),
    "one proxy": ("10.1.1.1", ("203.0.113.9",), "203.0.113.9"),
    "what the client wrote before": ("10.1.1.1", ("1.2.3.4, 203.0.113.9",), "203.0.113.9"),
    "what it wrote in a field of its own": ("10.1.1.1", ("1.2.3.4", "203.0.113.9"), "203.0.113.9"),
    "what it wrote looks like a proxy": ("10.1.1.1", ("10.9.9.9, 203.0.113.9",), "203.0.113.9"),
    "two proxies": ("10.1.1.1", ("1.2.3.4, 203.0.113.9, 192.0.2.7",), "203.0.113.9"),
    "proxies alone": ("10.1.1.1", ("10.2.2.2, 192.0.2.7",), "10.2.2.2"),
    "a trusted peer without the header": ("10.1.1.1", (), "10.1.1.1"),
    "with a port": ("10.1.1.1", ("203.0.113.9:51000",), "203.0.113.9"),
    "not an address": ("10.1.1.1", ("1.2.3.4, somebody",), "unknown"),
    "empty": ("10.1.1.1", ("",), "unknown"),
    "a blank at the end": ("10.1.1.1", ("203.0.113.9,",), "unknown"),
    "not ASCII": ("10.1.1.1", ("203.0.113.9\xa0",), "203.0.113.9"),
    "IPv6 in brackets": ("10.1.1.1", ("[2001:db8:9::5]:443",), "2001:db8:9::/64"),
    "IPv6 without": ("10.1.1.1", ("2001:db8:9::5",), "2001:db8:9::/64"),
    "another address of one IPv6 site": ("10.1.1.1", ("2001:db8:9::ffff:1",), "2001:db8:9::/64"),
    "an IPv6 proxy": ("2001:db8:1::2", ("203.0.113.9",), "203.0.113.9"),
    "an IPv4 proxy as IPv6 sockets see it": ("::ffff:10.1.1.1", ("203.0.113.9",), "203.0.113.9"),
    "an IPv6 peer": ("2001:db8:7::1", ("203.0.113.9",), "2001:db8:7::/64"),
    "an IPv6 peer on a link": ("fe80::1%eth0", (), "fe80::/64"),
    "an IPv4 peer behind NAT64": ("64:ff9b::203.0.113.7", (), "203.0.113.7"),
    "NAT64 makes no proxy of a client": ("64:ff9b::10.1.1.1", ("203.0.113.9",), "10.1.1.1"),
    "in quotes": ("10.1.1.1", ('"203.0.113.9"',), "203.0.113.9"),
    "in half of its quotes": ("10.1.1.1", ('"203.0.113.9',), "unknown"),
    "more hops than are read": ("10.1.1.1", (", ".join(["203.0.113.9", *["10.2.2.2"] * 40]),), "10.2.2.2"),
    "no peer": (None, ("203.0.113.9",), "unknown"),
}


@pytest.mark.parametrize(("peer", "fields", "expected"), CASES.values(), ids=CASES)
def test_x_forwarded_for_counts_from_its_end_and_from_trusted_peers_only(
    peer: str | None, fields: tuple[str, ...], expected: str
) -> None:
    assert found(peer, *fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (("for=203.0.113.9",), "203.0.113.9"),
        (("For=203.0.113.9;proto=https;by=10.1.1.1",), "203.0.113.9"),
        (("proto=https; for=203.0.113.9",), "203.0.113.9"),
        (('for="[2001:db8:9::5]:4711"',), "2001:db8:9::/64"),
        (("for=1.2.3.4, for=203.0.113.9, for=192.0.2.7",), "203.0.113.9"),
        (("for=1.2.3.4", "for=203.0.113.9"), "203.0.113.9"),
        (("for=1.2.3.4, for=unknown",), "unknown"),
        (("for=1.2.3.4, for=_hidden",), "unknown"),
        (("for=1.2.3.4, proto=https",), "unknown"),
        (('x="for=1.2.3.4"',), "unknown"),
        (('for=203.0.113.9;host="x,for=6.6.6.6"',), "203.0.113.9"),
        (('proto=http;host="x;for=6.6.6.6;y";for=203.0.113.9',), "203.0.113.9"),
        (('for=203.0.113.9;host="x\\",for=6.6.6.6;y="',), "203.0.113.9"),
        (('for=1.2.3.4, for=203.0.113.9;host="x,for=6.6.6.6", for=192.0.2.7',), "203.0.113.9"),
        (('for="1.2.3.4', "for=203.0.113.9"), "203.0.113.9"),
        (('for="203.0.113.9',), "unknown"),
        (('for=203.0.113.9"',), "unknown"),
        (('for=203.0.113.9;host="x',), "unknown"),
        (('for="1.2.3.4, for=203.0.113.9',), "unknown"),
        (("for=203.0.113.9;for=6.6.6.6",), "unknown"),
        (("for=",), "unknown"),
        (("for=203.0.113.9 for=6.6.6.6",), "unknown"),
        (("203.0.113.9",), "unknown"),
        (("for=203.0.113.9;",), "203.0.113.9"),
        (("for=203.0.113.9;;proto=https",), "203.0.113.9"),
        (("for=203.0.113.9,",), "unknown"),
        (("for=203.0.113.9:4711",), "203.0.113.9"),
        (("for=1.2.3.4" + ";x=y" * 1100 + ", for=203.0.113.9",), "unknown"),
    ],
)
def test_forwarded_counts_likewise(fields: tuple[str, ...], expected: str) -> None:
    assert found("10.1.1.1", *fields, header="forwarded") == expected


def test_the_header_that_the_proxies_do_not_write_is_nobodys_word() -> None:
    scope: Any = {"client": ("10.1.1.1", 1), "headers": [(b"forwarded", b"for=1.2.3.4")]}
    assert ClientAddresses(TRUSTED, "x-forwarded-for").of(scope) == "10.1.1.1"


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert found("10.1.1.1", "203.0.113.9", trusts=False) == "10.1.1.1"
    assert found("2001:db8:9::5", "203.0.113.9", trusts=False) == "2001:db8:9::/64"


def test_a_long_chain_is_read_from_its_end_as_well() -> None:
    assert found("10.1.1.1", "1.2.3.4," * 5_000 + "203.0.113.9") == "203.0.113.9"
