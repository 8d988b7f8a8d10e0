"""The edge's own TLS: what it serves, and that new certificates take the place of old ones unnoticed."""

import asyncio
import os
import shutil
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.edge.edge_process import EdgeProcess, eventually
from tests.edge.fake_service import FakeService
from tests.support.certificate_authority import Authority
from tests.support.certificates import Certificate

REQUEST = b"GET / HTTP/1.1\r\nHost: edge.test\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def in_use(authority: Authority) -> Certificate:
    """The files that the edge is told of."""
    return authority.issue("edge")


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem.decode())


def edge_with(in_use: Certificate, authority: Authority, **environment: str) -> EdgeProcess:
    settings = {
        "TENANTROOMS_EDGE_TLS_CERT_FILE": str(in_use.certificate),
        "TENANTROOMS_EDGE_TLS_KEY_FILE": str(in_use.key),
        **environment,
    }
    return EdgeProcess(settings, trusting(authority))


def put(new: Certificate, into: Certificate) -> None:
    """The new pair in the files of the old, each replaced at once."""
    for source, target in ((new.certificate, into.certificate), (new.key, into.key)):
        fresh = target.with_suffix(".new")
        shutil.copy(source, fresh)
        fresh.replace(target)


async def served(edge: EdgeProcess) -> bytes | None:
    """The certificate on a new connection."""
    _, writer = await edge.connect()
    shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return shown


def der(files: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.certificate.read_text())


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["P-384", "RSA"],
)
async def test_https_with_each_kind_of_key(
    authority: Authority, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
) -> None:
    async with edge_with(authority.issue("edge", key=key), authority) as edge:
        assert (await edge.ask("/")).json == {"status": "OK"}
        assert await edge.stop() == 0
        assert '"tls": true' in edge.log


@pytest.mark.parametrize(("setting", "oldest"), [({}, "TLSv1.2"), ({"MIN_VERSION": "1.3"}, "TLSv1.3")])
async def test_the_oldest_version_is_a_setting(
    authority: Authority, in_use: Certificate, setting: dict[str, str], oldest: str
) -> None:
    environment = {f"TENANTROOMS_EDGE_TLS_{name}": value for name, value in setting.items()}
    async with edge_with(in_use, authority, **environment) as edge:
        spoken = []
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting(authority)
            context.minimum_version = context.maximum_version = version
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", edge.port, ssl=context)
            except ssl.SSLError:
                continue
            spoken.append(writer.get_extra_info("ssl_object").version())
            writer.close()
        assert spoken == ["TLSv1.2", "TLSv1.3"][["TLSv1.2", "TLSv1.3"].index(oldest) :]


class Load:
    """Clients that never cease: some with a new connection for each request, some that keep theirs."""

    def __init__(self, edge: EdgeProcess) -> None:
        self._edge = edge
        self.answered = 0
        self.failures: list[BaseException] = []
        self._over = False

    async def fresh(self) -> None:
        while not self._over:
            try:
                assert (await self._edge.ask("/")).status == 200
                self.answered += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                self.failures.append(error)
            await asyncio.sleep(0.01)

    async def keeping(self) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._over:
            try:
                connection = connection or await self._edge.connect()
                reader, writer = connection
                writer.write(REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                await reader.readexactly(len(b'{"status":"OK"}'))
                self.answered += 1
                if b"connection: close" in head.lower():
                    writer.close()
                    connection = None
            except Exception as error:  # noqa: BLE001 - as above
                self.failures.append(error)
                connection = None
            await asyncio.sleep(0.005)
        if connection:
            connection[1].close()

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[None]:
        clients = [asyncio.create_task(each()) for each in (self.fresh, self.keeping) for _ in range(4)]
        try:
            yield
        finally:
            self._over = True
            await asyncio.gather(*clients)


async def test_under_load_a_new_certificate_takes_over_without_a_failed_request(
    authority: Authority, in_use: Certificate
) -> None:
    pairs = [authority.issue("edge-2"), authority.issue("edge-3")]
    async with edge_with(in_use, authority, TENANTROOMS_EDGE_WORKERS="2") as edge:
        load = Load(edge)
        async with load():
            for number, pair in enumerate(pairs, start=1):
                put(pair, in_use)
                await eventually(partial(has_logged, edge, "workers_replaced", number))
                assert await served(edge) == der(pair)
        assert load.failures == []
        assert load.answered > 100
        assert await edge.stop() == 0


async def has_logged(edge: EdgeProcess, event: str, times: int = 1) -> bool:
    return edge.log.count(f'"event": "{event}"') >= times


async def test_a_broken_pair_is_refused_and_the_old_one_served_on(
    authority: Authority, in_use: Certificate
) -> None:
    old, others = der(in_use), authority.issue("others")
    async with edge_with(in_use, authority) as edge:
        shutil.copy(others.key, in_use.key)  # of another certificate
        await eventually(lambda: has_logged(edge, "tls_files_refused"))
        assert "do not belong together" in edge.log
        assert await served(edge) == old
        # Also in workers that start from now on.
        edge.process.send_signal(signal.SIGHUP)
        await eventually(lambda: has_logged(edge, "workers_replaced"))
        assert await served(edge) == old
        in_use.certificate.unlink()
        await eventually(lambda: has_logged(edge, "tls_files_refused", 2))
        assert await served(edge) == old
        put(others, in_use)
        await eventually(lambda: has_logged(edge, "workers_replaced", 2))
        assert await served(edge) == der(others)
        assert await edge.stop() == 0
        assert "PRIVATE" not in edge.log


async def test_a_request_under_way_is_answered_by_the_worker_that_gives_way(
    authority: Authority, in_use: Certificate
) -> None:
    async with (
        FakeService() as service,
        edge_with(in_use, authority, TENANTROOMS_GRPC_TARGET=service.address) as edge,
    ):
        service.script.hold = asyncio.Event()
        asked = asyncio.create_task(edge.ask("/livekit/rooms"))
        await service.script.arrived.wait()
        pair = authority.issue("edge-2")
        put(pair, in_use)

        async def shows_it() -> bool:
            return await served(edge) == der(pair)

        await eventually(shows_it)
        service.script.hold.set()
        assert (await asked).status == 200
        assert await edge.stop() == 0


async def test_a_stop_in_the_middle_of_a_replacement_is_clean(
    authority: Authority, in_use: Certificate
) -> None:
    async with edge_with(in_use, authority, TENANTROOMS_EDGE_WORKERS="2") as edge:
        children = len(workers_of(edge))
        put(authority.issue("edge-2"), in_use)

        async def has_more() -> bool:
            return len(workers_of(edge)) > children

        await eventually(has_more)
        assert await edge.stop() == 0
        with pytest.raises(ProcessLookupError):
            os.killpg(edge.process.pid, 0)


def workers_of(edge: EdgeProcess) -> list[str]:
    pid = edge.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def test_when_new_workers_do_not_start_the_old_ones_go_on(
    authority: Authority, in_use: Certificate
) -> None:
    old, new = der(in_use), authority.issue("edge-2")
    async with edge_with(in_use, authority) as edge:
        before = workers_of(edge)
        put(new, in_use)

        async def has_more() -> bool:
            return len(workers_of(edge)) > len(before)

        await eventually(has_more)
        (started,) = set(workers_of(edge)) - set(before)
        os.kill(int(started), signal.SIGKILL)
        await eventually(partial(has_logged, edge, "new_workers_do_not_start"))
        assert workers_of(edge) == before
        assert await served(edge) == old
        edge.process.send_signal(signal.SIGHUP)  # tries again
        await eventually(partial(has_logged, edge, "workers_replaced"))
        assert await served(edge) == der(new)
        assert await edge.stop() == 0


async def test_a_worker_that_dies_is_replaced_by_one_with_the_certificate_in_use(
    authority: Authority, in_use: Certificate
) -> None:
    old = der(in_use)
    async with edge_with(in_use, authority) as edge:
        in_use.key.write_text("broken")
        (worker,) = workers_of(edge)
        os.kill(int(worker), signal.SIGKILL)

        async def has_another() -> bool:
            return workers_of(edge) not in ([], [worker])

        await eventually(has_another)
        assert await served(edge) == old
        assert await edge.stop() == 0
