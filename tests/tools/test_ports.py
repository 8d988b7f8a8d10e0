"""Free ports are free, taken ones are recognized."""

import socket

import pytest

from tools.ports import free_tcp_port, free_udp_port, is_taken


def test_a_free_port_can_be_bound() -> None:
    socket.create_server(("127.0.0.1", free_tcp_port())).close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", free_udp_port()))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_on_which_someone_listens_is_taken(host: str) -> None:
    with socket.create_server((host, 0)) as other:
        port = other.getsockname()[1]
        assert is_taken("127.0.0.1", port)
    assert not is_taken("127.0.0.1", port)


def test_a_port_is_taken_even_from_someone_who_would_share_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert is_taken("127.0.0.1", other.getsockname()[1])


def test_a_connection_that_lingers_does_not_make_a_port_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # closed on this side first: this side's port lingers
    assert not is_taken("127.0.0.1", port)


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="Cannot assign"):
        is_taken("192.0.2.1", 80)
