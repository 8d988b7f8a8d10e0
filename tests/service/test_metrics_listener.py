"""Where metrics can be read, over real HTTP."""

import socket

import aiohttp
import pytest

from common.addresses import HostPort
from service.health import Health
from service.metrics import Metrics
from service.metrics_listener import open_metrics_listener
from service.start_errors import AddressInUse


async def get(url: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, answer.content_type, await answer.text()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0.0.0.0"])
async def test_metrics_are_shown_as_they_are_now_until_the_listener_is_closed(host: str) -> None:
    metrics = Metrics()
    async with open_metrics_listener(metrics.registry, Health("rooms"), HostPort(host, 0)) as port:
        url = f"http://{HostPort(host.replace('0.0.0.0', '127.0.0.1'), port)}/metrics"
        metrics.audit_recorded(True)
        status, kind, text = await get(url)
        assert (status, kind) == (200, "text/plain")
        assert 'tenantrooms_audit_records_total{outcome="success"} 1.0' in text.splitlines()
        metrics.audit_recorded(True)
        assert 'outcome="success"} 2.0' in (await get(url))[2]
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(url)


async def test_health_stands_beside_the_metrics() -> None:
    health = Health("rooms")
    async with open_metrics_listener(Metrics().registry, health, HostPort("127.0.0.1", 0)) as port:
        url = f"http://127.0.0.1:{port}"
        well = (200, "application/json", '{"status":"OK"}')
        unready = (503, "application/json", '{"error":"Not ready"}')
        assert await get(f"{url}/livez") == well
        assert await get(f"{url}/readyz") == unready
        health.become(True)
        assert await get(f"{url}/readyz") == well
        health.leave()
        assert await get(f"{url}/readyz") == unready
        assert await get(f"{url}/livez") == well
        async with aiohttp.ClientSession() as session, session.head(f"{url}/livez") as answer:
            assert (answer.status, await answer.text()) == (200, "")
        assert "tenantrooms_" in (await get(f"{url}/metrics"))[2]


async def test_an_address_that_is_taken_is_refused_by_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = HostPort("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(AddressInUse, match=rf"{address}: .*TENANTROOMS_METRICS_LISTEN"):
            async with open_metrics_listener(Metrics().registry, Health("rooms"), address):
                pass


async def test_a_host_that_this_machine_is_not_is_refused() -> None:
    with pytest.raises(AddressInUse):
        async with open_metrics_listener(Metrics().registry, Health("rooms"), HostPort("192.0.2.1", 0)):
            pass
