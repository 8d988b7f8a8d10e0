"""How many connections the edge holds open, and that those that are stuck keep nobody else waiting."""

import asyncio
import resource
import sys
from collections.abc import Iterator

import pytest

from edge.connections import MOST_CONNECTIONS, OTHER_FILES
from tests.edge.edge_process import EdgeProcess, environment

STUCK = 1_200
"""More than granian would hold by itself."""


@pytest.fixture
def many_files() -> Iterator[None]:
    """Lets this process open enough connections, and gives it back its own limit afterwards."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < STUCK + MOST_CONNECTIONS:
        pytest.skip("this machine lets a process open too few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (STUCK + MOST_CONNECTIONS, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n"]
)
async def test_a_thousand_stuck_requests_keep_nobody_else_waiting(sent: bytes) -> None:
    async with EdgeProcess({"TENANTROOMS_EDGE_HEADER_TIMEOUT_SECONDS": "60"}) as edge:
        stuck = [await edge.connect() for _ in range(STUCK)]
        for _, writer in stuck:
            writer.write(sent)
        async with asyncio.timeout(30):  # half of the time that they may hold their connections
            assert (await edge.ask("/")).status == 200
        for _, writer in stuck:
            writer.close()


@pytest.mark.parametrize(
    ("soft", "hard", "limit", "connections"),
    [
        (1024, 10_000, MOST_CONNECTIONS + OTHER_FILES, MOST_CONNECTIONS),
        (10_000, 10_000, 10_000, MOST_CONNECTIONS),
        (512, 1024, 1024, 1024 - OTHER_FILES),
        (100, 100, 100, 1),
    ],
)
async def test_there_is_room_for_as_many_as_the_limit_of_open_files_allows(
    soft: int, hard: int, limit: int, connections: int
) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < hard:
        pytest.skip("this machine lets a process open too few files")
    program = (
        "import resource; from edge.connections import make_room\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        "print(make_room(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment({}), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert told.decode().split() == [str(connections), str(limit), str(hard)]
