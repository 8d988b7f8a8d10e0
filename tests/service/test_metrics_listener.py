"""Where metrics can be read, over real HTTP."""

import socket

import aiohttp
import pytest

from service.metrics import Metrics
from service.metrics_listener import open_metrics_listener
from service.settings.observability import HostPort
from service.start_errors import AddressInUse


async def get(url: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, answer.content_type, await answer.text()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0.0.0.0"])
async def test_metrics_are_shown_as_they_are_now_until_the_listener_is_closed(host: str) -> None:
    metrics = Metrics()
    async with open_metrics_listener(metrics.registry, HostPort(host, 0)) as port:
        url = f"http://{HostPort(host.replace('0.0.0.0', '127.0.0.1'), port)}/metrics"
        metrics.audit_recorded(True)
        status, kind, text = await get(url)
        assert (status, kind) == (200, "text/plain")
        assert 'tenantrooms_audit_records_total{outcome="success"} 1.0' in text.splitlines()
        metrics.audit_recorded(True)
        assert 'outcome="success"} 2.0' in (await get(url))[2]
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(url)


async def test_an_address_that_is_taken_is_refused_by_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = HostPort("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(AddressInUse, match=rf"{address}: .*TENANTROOMS_METRICS_LISTEN"):
            async with open_metrics_listener(Metrics().registry, address):
                pass


async def test_a_host_that_this_machine_is_not_is_refused() -> None:
    with pytest.raises(AddressInUse):
        async with open_metrics_listener(Metrics().registry, HostPort("192.0.2.1", 0)):
            pass
