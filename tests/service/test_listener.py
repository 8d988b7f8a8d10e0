"""The listener: whom it lets connect, with which certificates, for how long, and that it is alone there."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import grpc
import pytest

from service.certificates import ListenerCertificates, read_certificates, read_tls_key
from service.listener import ListenerTls, bind, connection_options
from service.start_errors import AddressInUse
from tests.support.certificate_authority import DAY, Authority
from tests.support.certificates import Certificate

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def shown(certificate: Certificate, *client_ca: Authority) -> ListenerCertificates:
    return ListenerCertificates(
        read_certificates(certificate.certificate.read_bytes()),
        read_tls_key(certificate.key.read_bytes()),
        read_certificates(b"".join(each.pem for each in client_ca)) if client_ca else None,
    )


class Echo(grpc.GenericRpcHandler):
    """Answers with the address of who calls; `/held` only once it is told to."""

    def __init__(self) -> None:
        self.held, self.release = asyncio.Event(), asyncio.Event()

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        async def answer(_: bytes, context: Any) -> bytes:
            if details.method == "/test/held":
                self.held.set()
                await self.release.wait()
            return str(context.peer()).encode()

        return grpc.unary_unary_rpc_method_handler(answer)


class Listening(contextlib.AsyncExitStack):
    """A server with this TLS, and clients of it that trust `authority`."""

    def __init__(self, authority: Authority, tls: ListenerTls, **bounds: float) -> None:
        super().__init__()
        self.authority, self.tls, self.echo = authority, tls, Echo()
        options = connection_options(bounds["age"], bounds["grace"]) if bounds else ()
        self._server = grpc.aio.server(handlers=[self.echo], options=options)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.port = self._server.add_secure_port("127.0.0.1:0", self.tls.credentials())
        await self._server.start()
        self.push_async_callback(self._server.stop, None)
        return self

    @contextlib.asynccontextmanager
    async def client(self, own: Certificate | None = None) -> AsyncIterator[grpc.aio.Channel]:
        """A channel with a connection of its own."""
        pair = (own.key.read_bytes(), own.certificate.read_bytes()) if own else (None, None)
        async with grpc.aio.secure_channel(
            f"127.0.0.1:{self.port}",
            grpc.ssl_channel_credentials(self.authority.pem, *pair),
            options=[("grpc.use_local_subchannel_pool", 1)],
        ) as channel:
            yield channel

    async def answers(self, own: Certificate | None = None) -> bool:
        """Whether a call over a new connection is answered."""
        async with self.client(own) as channel:
            return await call(channel) is not None


async def call(channel: grpc.aio.Channel, method: str = "quick") -> str | None:
    """The peer that the server saw, or None when there is no connection to be had."""
    ask: Any = channel.unary_unary(f"/test/{method}")
    try:
        answer: bytes = await ask(b"", timeout=10)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return None
        raise
    return answer.decode()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_anybody_connects_where_no_client_certificates_are_asked_for(authority: Authority) -> None:
    async with Listening(authority, ListenerTls(shown(authority.issue("server")))) as server:
        assert await server.answers()
        assert await server.answers(authority.issue("client"))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as plain:
            assert await call(plain) is None


async def test_only_clients_with_a_good_certificate_connect_where_they_are_asked_for_one(
    tmp_path: Path, authority: Authority
) -> None:
    clients = Authority(tmp_path, "clients")
    now = read_certificates(authority.pem).lives[0][0] + DAY
    tls = ListenerTls(shown(authority.issue("server"), clients))
    async with Listening(authority, tls) as server:
        assert await server.answers(clients.issue("client"))
        assert not await server.answers()
        assert not await server.answers(authority.issue("stranger"))
        assert not await server.answers(clients.issue("expired", ends=now - DAY))


async def test_new_certificates_hold_for_new_connections_and_open_ones_stay(
    tmp_path: Path, authority: Authority
) -> None:
    clients, next_clients = Authority(tmp_path, "clients"), Authority(tmp_path, "next-clients")
    old, new = clients.issue("old"), next_clients.issue("new")
    tls = ListenerTls(shown(authority.issue("server"), clients))
    async with Listening(authority, tls) as server, server.client(old) as open_before:
        peer = await call(open_before)
        next_server = authority.issue("next-server")
        tls.show(shown(next_server, next_clients))
        assert await server.answers(new)
        assert not await server.answers(old)
        seen = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", server.port))
        assert seen.strip() == next_server.certificate.read_text().strip()
        assert peer is not None
        assert await call(open_before) == peer


async def test_one_client_is_let_in_by_its_own_certificate_alone(authority: Authority) -> None:
    listed, other = authority.issue("listed"), authority.issue("other")
    own = read_certificates(listed.certificate.read_bytes())
    tls = ListenerTls(shown(authority.issue("server"))._replace(client_ca=own))
    async with Listening(authority, tls) as server:
        assert await server.answers(listed)
        assert not await server.answers(other)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_never_resumed_as_its_certificate_would_not_be_checked_again(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    client = authority.issue("client")
    context = ssl.create_default_context(cafile=authority.file)
    context.load_cert_chain(client.certificate, client.key)
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version

    def connect(port: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connection,
        ):
            connection.sendall(PREFACE)
            assert connection.recv(1)  # a ticket of TLS 1.3 arrives before it
            return connection.session, connection.session_reused

    async with Listening(authority, ListenerTls(shown(authority.issue("server"), authority))) as server:
        session, _ = await asyncio.to_thread(connect, server.port, None)
        assert session is not None
        assert (await asyncio.to_thread(connect, server.port, session))[1] is False


async def test_a_connection_lives_no_longer_than_its_age_and_calls_under_way_are_finished(
    authority: Authority,
) -> None:
    tls = ListenerTls(shown(authority.issue("server"), authority))
    async with (
        Listening(authority, tls, age=0.2, grace=30) as server,
        server.client(authority.issue("client")) as channel,
    ):
        held = asyncio.create_task(call(channel, "held"))
        await server.echo.held.wait()
        peers = [await call(channel)]
        while len(set(peers)) < 3:
            peers.append(await call(channel))
        assert None not in peers
        server.echo.release.set()
        assert await held == peers[0]


async def test_a_client_that_is_trusted_no_more_is_out_once_its_connection_has_its_age(
    tmp_path: Path, authority: Authority
) -> None:
    tls = ListenerTls(shown(authority.issue("server"), authority))
    async with (
        Listening(authority, tls, age=0.2, grace=0.2) as server,
        server.client(authority.issue("client")) as channel,
    ):
        holding = asyncio.create_task(call(channel, "held"))
        await server.echo.held.wait()
        tls.show(shown(authority.issue("server"), Authority(tmp_path, "other")))
        async with asyncio.timeout(10):
            while await call(channel) is not None:
                pass
            assert await holding is None  # never released: it was ended with its connection


def test_connections_live_on_where_no_age_is_set() -> None:
    assert connection_options(None, 10) == ()


# --- the address --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}"])
async def test_a_unix_socket_is_not_taken_away_from_who_answers_there(tmp_path: Path, form: str) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(AddressInUse):
            bind(grpc.aio.server(), form.format(path), None)
        assert path.is_socket()


async def test_a_unix_socket_that_was_left_behind_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = grpc.aio.server(handlers=[Echo()])
    bind(server, f"unix:{path}", None)
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        assert await call(channel) is not None
    await server.stop(None)


@pytest.mark.parametrize("name", ["a-file", "no-folder/s", "x" * 200])
async def test_where_no_unix_socket_can_be_it_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(AddressInUse, match="no socket can be made there"):
        bind(grpc.aio.server(), f"unix:{tmp_path}/{name}", None)
    assert (tmp_path / "a-file").is_file()
