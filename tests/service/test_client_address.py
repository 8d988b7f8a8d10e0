"""Clients are told apart by their peer, and by what an edge says only where that edge is trusted."""

import ipaddress

import pytest

from common.edge_metadata import CLIENT_ADDRESS_KEY
from service.client_address import ClientAddresses

EDGES = [ipaddress.ip_network(network) for network in ("10.1.0.0/16", "::1/128")]
SAID = ((CLIENT_ADDRESS_KEY, "203.0.113.9"),)


@pytest.mark.parametrize(
    ("peer", "alone", "with_word"),
    [
        ("ipv4:10.1.2.3:4000", "10.1.2.3", "203.0.113.9"),
        ("ipv4:10.2.2.3:4000", "10.2.2.3", "10.2.2.3"),
        ("ipv6:[::1]:4000", "::1", "203.0.113.9"),
        ("ipv6:%5B::1%5D:4000", "::1", "203.0.113.9"),
        ("ipv6:[::ffff:10.1.2.3]:4000", "10.1.2.3", "203.0.113.9"),
        ("ipv6:[2001:db8:9::5]:4000", "2001:db8:9::/64", "2001:db8:9::/64"),
        ("ipv6:[fe80::1%25eth0]:4000", "fe80::/64", "fe80::/64"),
        ("ipv6:[64:ff9b::203.0.113.7]:4000", "203.0.113.7", "203.0.113.7"),
        ("unix:", "unix", "203.0.113.9"),
        ("unix:/run/grpc.sock", "unix", "203.0.113.9"),
        ("something else", "", ""),
    ],
)
def test_an_edges_word_counts_where_it_is_trusted(peer: str, alone: str, with_word: str) -> None:
    addresses = ClientAddresses(EDGES)
    assert addresses.of((), peer) == alone
    assert addresses.of(SAID, peer) == with_word


def test_a_word_that_no_edge_gives_does_not_count() -> None:
    addresses = ClientAddresses(EDGES)
    for said in ((*SAID, *SAID), ((CLIENT_ADDRESS_KEY, "x" * 65),), ((CLIENT_ADDRESS_KEY, b"x"),)):
        assert addresses.of(said, "unix:") == "unix"


def test_whoever_is_no_edge_is_nobody_else_whatever_it_says() -> None:
    addresses = ClientAddresses(())
    said = {addresses.of(((CLIENT_ADDRESS_KEY, str(n)),), "ipv4:127.0.0.1:1") for n in range(10)}
    assert said == {"127.0.0.1"}
