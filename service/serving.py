"""Owns the service's life: it serves until it is told to stop, and then stops without losing a call.

Step before: `service.__main__` has the settings. Step after: `service.server` builds what serves.
"""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import grpc
import structlog

from common import memory
from common.quick_log import quick_writer
from service.call_log import CallLog
from service.health import Health
from service.metrics import Metrics
from service.metrics_listener import open_metrics_listener
from service.relay.servicer import Relay
from service.reloading import Reloader
from service.server import SERVICE_NAME, running_server
from service.settings import Settings, load
from service.watched_files import WatchedFiles

# How long a client gets to hear that the service is leaving before its calls are refused.
_ANNOUNCE_SECONDS: Final = 0.5

_log = structlog.get_logger(__name__)


async def serve(settings: Settings, environment: Mapping[str, str], files: WatchedFiles) -> None:
    """Serves until SIGTERM or SIGINT, then drains. A second signal ends the drain at once.

    Args:
        settings: those in force at first.
        environment: where they came from; they are loaded from it again when a file has changed.
        files: those that it names.

    Raises:
        SettingsError: a certificate is not valid now.
        CannotStart: an address could not be bound, or the audit log's file not be opened.
    """
    stop = _Signals(asyncio.get_running_loop())
    for warning in settings.warnings():
        _log.warning(warning)
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        health = Health(SERVICE_NAME)
        metrics_port = None
        if settings.metrics_listen is not None:
            listener = open_metrics_listener(metrics.registry, health, settings.metrics_listen)
            metrics_port = await stack.enter_async_context(listener)
        log = CallLog(quick_writer(settings.log_level, asyncio.get_running_loop()))
        running = running_server(settings, metrics, health, log)
        server, _, take_up, relay = await stack.enter_async_context(running)
        reloader = Reloader(partial(load, environment), take_up, metrics.reloaded)
        reloading = asyncio.create_task(reloader.run(files.changes(reloader.hangs)))
        _log.info(
            "serving",
            address=settings.grpc_listen,
            livekit=settings.livekit_configured,
            metrics_port=metrics_port,
        )
        memory.settle()
        await stop.first.wait()
        reloading.cancel()
        _log.info("draining", seconds=settings.drain_seconds)
        health.leave()
        drain = asyncio.create_task(_drain(server, relay, settings.drain_seconds))
        second = asyncio.create_task(stop.second.wait())
        await asyncio.wait({drain, second}, return_when=asyncio.FIRST_COMPLETED)
        drain.cancel()
        second.cancel()
        await asyncio.wait({drain, second})
    log.close()
    if not drain.cancelled():
        drain.result()
    _log.info("stopped")


async def _drain(server: grpc.aio.Server, relay: Relay, seconds: float) -> None:
    await asyncio.sleep(min(_ANNOUNCE_SECONDS, seconds))
    # Together with the refusal of new connections, so that no edge comes back to this process.
    relay.leave()
    await server.stop(seconds)


class _Signals:
    """Tells the first and the second signal to stop apart."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received)

    def _received(self) -> None:
        (self.second if self.first.is_set() else self.first).set()
