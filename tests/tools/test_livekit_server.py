"""A real LiveKit server as a child: loopback only, restartable, and gone when it should be."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from livekit import api, rtc

from tools.child_process import ChildFailedError
from tools.livekit_server import LiveKitServer
from tools.ports import free_tcp_port


async def room_names(server: LiveKitServer) -> set[str]:
    async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as livekit:
        return {room.name for room in (await livekit.room.list_rooms(api.ListRoomsRequest())).rooms}


def open_files(pid: int) -> Iterator[str]:
    """What each descriptor of a process leads to; one that closes meanwhile is left out."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(descriptor.readlink())


def listening_addresses(pid: int) -> set[str]:
    """Kind and address, as the kernel writes them, of each socket on which a process waits for others."""
    inodes = {file.partition("[")[2].rstrip("]") for file in open_files(pid) if file.startswith("socket:")}
    found = set()
    for table, waiting in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and fields[3] == waiting:
                found.add(f"{table} {fields[1].partition(':')[0]}")
    return found


async def make_room(server: LiveKitServer, name: str) -> None:
    async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as livekit:
        await livekit.room.create_room(api.CreateRoomRequest(name=name))


async def test_it_answers_with_its_own_key_and_secret() -> None:
    async with LiveKitServer() as server:
        await make_room(server, "standup")
        assert await room_names(server) == {"standup"}
        assert len(server.api_secret) >= 32


async def test_it_keeps_its_address_over_a_restart_and_forgets_its_rooms() -> None:
    async with LiveKitServer() as server:
        url, pid = server.url, server.pid
        await make_room(server, "standup")
        await server.restart()
        assert (server.url, await room_names(server)) == (url, set())
        assert server.pid != pid


async def test_it_comes_up_again_after_a_crash() -> None:
    async with LiveKitServer() as server:
        await server.kill()
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(server.url)
        await server.start()
        assert await room_names(server) == set()


async def test_a_participant_does_not_keep_it_from_stopping() -> None:
    room = rtc.Room()
    async with LiveKitServer() as server:
        token = api.AccessToken(server.api_key, server.api_secret).with_identity("visitor-1")
        grants = api.VideoGrants(room_join=True, room="standup")
        await room.connect(server.ws_url, token.with_grants(grants).to_jwt())
        await server.stop()
        assert server.child.returncode == 0
    await room.disconnect()


async def test_nothing_is_left_when_it_is_done() -> None:
    async with LiveKitServer() as server:
        folder = server.child.log.parent
        assert folder.is_dir()
    assert not server.child.is_running
    assert not folder.exists()


async def test_a_given_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ChildFailedError, match=f"port {port}"):
            async with LiveKitServer(port=port):
                pytest.fail("it must not start")


async def test_a_given_port_and_log_are_used(tmp_path: Path) -> None:
    port, log = free_tcp_port(), tmp_path / "logs" / "livekit.log"
    async with LiveKitServer(port=port, log=log) as server:
        assert server.url == f"http://127.0.0.1:{port}"
        assert server.ws_url == f"ws://127.0.0.1:{port}"
    assert "starting LiveKit server" in log.read_text()


async def test_a_server_that_does_not_come_up_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "livekit-server"
    broken.write_text("#!/bin/sh\necho cannot read the configuration\nexit 4\n")
    broken.chmod(0o755)
    with pytest.raises(ChildFailedError, match=r"(?s)exit code 4.*cannot read the configuration"):
        async with LiveKitServer(binary=broken):
            pytest.fail("it must not start")


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with LiveKitServer() as server:
        assert await room_names(server) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_it_listens_on_the_loopback_address_only() -> None:
    async with LiveKitServer() as server:
        assert listening_addresses(server.pid) == {"tcp 0100007F", "udp 0100007F"}
