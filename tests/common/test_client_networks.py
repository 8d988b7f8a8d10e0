"""Which addresses are one client."""

import pytest

from common.client_networks import read_address, read_networks, site_of


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("64:ff9b::203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_who_has_one_address_of_a_site_has_them_all(text: str, site: str) -> None:
    address = read_address(text)
    assert address is not None
    assert site_of(address) == site


@pytest.mark.parametrize("text", ["", "localhost", "203.0.113.999", "203.0.113.9:80", "[::1]"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert read_address(text) is None


@pytest.mark.parametrize("text", ["", "10.0.0.0/8,", "10.0.0.1/8", "canary"])
def test_what_is_no_network_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^must be addresses or networks like [^ ]+, separated by commas$"
    ) as no:
        read_networks(text)
    assert no.value.__suppress_context__
