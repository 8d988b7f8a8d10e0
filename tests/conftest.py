"""Fixtures for all tests, and how many cases they walk.

`pytest --wall` runs the tests marked `wall` alone, with their full counts: 10,000 examples from hypothesis
(its profile "full"), and what each test says itself. So do `--load`, `--soak` and `--fuzz`. Without them
those tests run in a short form.
"""

from collections.abc import AsyncIterator, Generator
from typing import NamedTuple

import aiohttp
import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from tests.support import real_livekit as real
from tests.support.full_counts import FullCounts
from tests.support.livekit_double import LiveKitDouble
from tests.support.participants import ParticipantProcess, Participants
from tests.support.real_livekit import RealLiveKit
from tests.support.redis_server import HOW_TO_INSTALL, RedisServer, redis_binary
from tests.support.twirp import TwirpCaller
from tools.figures import RELIABILITY, WALL, Page
from tools.livekit_server import LiveKitServer

# No deadline: one slow example on a busy machine is no failure.
settings.register_profile("dev", max_examples=100, deadline=None)
settings.register_profile(
    "full", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("dev")

GENERATED = "Generated cases"


class Command(NamedTuple):
    """A way to run some tests with full counts: those marked with its name."""

    minutes: float
    """What the tests have that do as much as fits, unless told otherwise."""
    what: str
    """What is done in these minutes."""
    most_seconds: float
    """After which one of its tests has failed, those minutes aside."""
    page: Page


COMMANDS = {
    "wall": Command(8, "the search for leaks", 30 * 60, WALL),
    "load": Command(10, "the longest load", 10 * 60, RELIABILITY),
    "soak": Command(60, "the soak", 10 * 60, RELIABILITY),
    "fuzz": Command(30, "all generated requests together", 10 * 60, RELIABILITY),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("full counts")
    for name, command in COMMANDS.items():
        group.addoption(
            f"--{name}", action="store_true", help=f"run the tests marked {name} only, with full counts"
        )
        group.addoption(
            f"--{name}-minutes",
            type=float,
            default=command.minutes,
            help=f"with --{name}: what {command.what} may take ({command.minutes:g})",
        )


def chosen(config: pytest.Config) -> list[str]:
    """The commands that this run is for; none means all tests, in their short forms."""
    return [name for name in COMMANDS if config.getoption(f"--{name}")]


def pytest_configure(config: pytest.Config) -> None:
    if chosen(config):
        settings.load_profile("full")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    names = chosen(config)
    if not names:
        return
    others = []
    for item in items.copy():
        marks = [name for name in names if item.get_closest_marker(name) is not None]
        if not marks:
            others.append(item)
            items.remove(item)
            continue
        most = max(COMMANDS[name].most_seconds + counts_of(config, name).seconds for name in marks)
        item.add_marker(pytest.mark.timeout(most), append=False)
    config.hook.pytest_deselected(items=others)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keeps how many cases of a hypothesis test went well; other tests keep their own figures."""
    report = yield
    if isinstance(item, pytest.Function) and report.when == "call" and report.passed:
        marked = item.get_closest_marker("wall") is not None
        if marked and is_hypothesis_test(item.obj):
            what = item.name.removeprefix("test_").replace("_", " ")
            columns = ("What holds", "Cases", "Exceptions", "Seconds")
            row = (what, f"{settings().max_examples:,}", 0, f"{report.duration:.0f}")
            counts_of(item.config, "wall").add(GENERATED, columns, row)
    return report


def counts_of(config: pytest.Config, name: str) -> FullCounts:
    """How this run goes about the tests with this mark."""
    capture = config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    return FullCounts(
        full=config.getoption(f"--{name}"),
        seconds=60 * config.getoption(f"--{name}-minutes"),
        page=COMMANDS[name].page,
        aside=capture.global_and_fixture_disabled,
    )


@pytest.fixture(scope="session")
def wall(request: pytest.FixtureRequest) -> FullCounts:
    """Counts, progress and figures of the tests marked `wall`."""
    return counts_of(request.config, "wall")


@pytest.fixture(scope="session")
def load(request: pytest.FixtureRequest) -> FullCounts:
    """Counts, progress and figures of the tests marked `load`."""
    return counts_of(request.config, "load")


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> FullCounts:
    """Counts, progress and figures of the tests marked `soak`."""
    return counts_of(request.config, "soak")


@pytest.fixture(scope="session")
def fuzz(request: pytest.FixtureRequest) -> FullCounts:
    """Counts, progress and figures of the tests marked `fuzz`."""
    return counts_of(request.config, "fuzz")


@pytest.fixture
async def livekit_double() -> AsyncIterator[LiveKitDouble]:
    """A scripted LiveKit of the test's own, without rooms."""
    async with LiveKitDouble() as double:
        yield double


@pytest.fixture
async def http_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def twirp_to_double(livekit_double: LiveKitDouble, http_session: aiohttp.ClientSession) -> TwirpCaller:
    """A plain caller of `livekit_double`."""
    return TwirpCaller(http_session, livekit_double)


@pytest.fixture(scope="session")
async def livekit_server() -> AsyncIterator[LiveKitServer]:
    """A real LiveKit that keeps its rooms in memory; all tests share it."""
    async with LiveKitServer(log_level="error") as server:
        yield server


@pytest.fixture
async def real_livekit(livekit_server: LiveKitServer) -> AsyncIterator[RealLiveKit]:
    """The shared LiveKit for one test, which removes the rooms that it made."""
    async with real.using(livekit_server) as livekit:
        yield livekit


@pytest.fixture(scope="session")
async def participant_process(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ParticipantProcess]:
    """Where real participants live; all tests share it."""
    async with ParticipantProcess(tmp_path_factory.mktemp("participants") / "log") as process:
        yield process


@pytest.fixture
async def participants(
    real_livekit: RealLiveKit, participant_process: ParticipantProcess
) -> AsyncIterator[Participants]:
    """Real participants for the rooms of `real_livekit`."""
    async with Participants(real_livekit, participant_process) as joined:
        yield joined


@pytest.fixture(scope="session")
async def redis_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    """A Redis; all tests share it. Without redis-server on the machine its tests are skipped."""
    binary = redis_binary()
    if binary is None:
        pytest.skip(HOW_TO_INSTALL)
    async with RedisServer(binary, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
async def livekit_server_on_redis(redis_server: RedisServer) -> AsyncIterator[LiveKitServer]:
    """A real LiveKit that keeps its rooms in Redis, as one of many nodes does; all tests share it."""
    async with LiveKitServer(redis_address=redis_server.address, log_level="error") as server:
        yield server


@pytest.fixture
async def real_livekit_on_redis(livekit_server_on_redis: LiveKitServer) -> AsyncIterator[RealLiveKit]:
    """The shared LiveKit on Redis for one test, which removes the rooms that it made."""
    async with real.using(livekit_server_on_redis) as livekit:
        yield livekit
