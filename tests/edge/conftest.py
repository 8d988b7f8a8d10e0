"""The edge as an ASGI application in front of a fake client, and as a process in front of a fake service."""

from collections.abc import AsyncIterator

import pytest

from edge.app import create_app
from edge.asgi import Edge
from edge.settings import EdgeSettings
from tests.edge.asgi_calls import started
from tests.edge.edge_process import EdgeProcess
from tests.edge.fake_client import FakeClient
from tests.edge.fake_service import FakeService


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
async def app(client: FakeClient) -> AsyncIterator[Edge]:
    """The edge with its default settings."""
    async with started(create_app(EdgeSettings(), lambda: client)) as app:
        yield app


@pytest.fixture(scope="session")
async def shared_service() -> AsyncIterator[FakeService]:
    async with FakeService() as service:
        yield service


@pytest.fixture
def service(shared_service: FakeService) -> FakeService:
    """The fake service behind `edge`, without rooms."""
    shared_service.reset()
    return shared_service


@pytest.fixture(scope="session")
async def shared_edge(shared_service: FakeService) -> AsyncIterator[EdgeProcess]:
    settings = {
        "TENANTROOMS_GRPC_TARGET": shared_service.address,
        "TENANTROOMS_EDGE_TIMEOUT_SECONDS": "5",
        # On a busy machine a test may take long between connecting and sending its request.
        "TENANTROOMS_EDGE_HEADER_TIMEOUT_SECONDS": "60",
    }
    async with EdgeProcess(settings) as edge:
        yield edge


@pytest.fixture(scope="session")
async def shared_impatient_edge(shared_service: FakeService) -> AsyncIterator[EdgeProcess]:
    settings = {
        "TENANTROOMS_GRPC_TARGET": shared_service.address,
        "TENANTROOMS_EDGE_HEADER_TIMEOUT_SECONDS": "1",
    }
    async with EdgeProcess(settings) as edge:
        yield edge


@pytest.fixture
def edge(shared_edge: EdgeProcess, service: FakeService) -> EdgeProcess:
    """A real `python -m edge` in front of `service`; all tests share it."""
    return shared_edge


@pytest.fixture
def impatient_edge(shared_impatient_edge: EdgeProcess, service: FakeService) -> EdgeProcess:
    """The same, for those who send slowly on purpose: it waits a second for headers, and for a body."""
    return shared_impatient_edge
