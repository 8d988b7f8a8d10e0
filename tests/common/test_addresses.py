"""Addresses of a host and a port: which texts are one, and which are on this machine."""

import pytest

from common.addresses import HostPort, is_local, read_host_port


@pytest.mark.parametrize(
    "address", [HostPort("0.0.0.0", 9464), HostPort("::1", 0), HostPort("rooms.example", 65_535)]
)
def test_an_address_is_read_as_it_is_written(address: HostPort) -> None:
    assert read_host_port(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("9464", ":9464", "lk", "lk:", "lk:http", "lk:65536", "lk:\u0661", "::1:9464", "l k:1", "[]:1", ""),
        *("unix:/s", "http://lk:1", "a@b:1", f"{'a' * 64}.example:1"),
    ],
)
def test_what_is_no_address_is_refused_without_a_word_of_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be host:port, an IPv6 host in brackets$"):
        read_host_port(text)


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("127.0.0.1:50051", True),
        ("127.1.2.3:1", True),
        ("[::1]:50051", True),
        ("localhost:50051", True),
        ("unix:/run/rooms.sock", True),
        ("10.0.0.1:50051", False),
        ("[2001:db8::1]:50051", False),
        ("rooms.internal:50051", False),
        ("localhost.example:50051", False),
    ],
)
def test_which_targets_are_on_this_machine(target: str, local: bool) -> None:
    assert is_local(target) is local
