"""Owns the edge's process: reads the settings, runs granian, says why when it cannot.

Before it: nothing. After it: `worker`, in each of granian's worker processes.
"""

import gc
import math
import multiprocessing
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from common.addresses import is_local, is_loopback
from common.logs import LogLevel, configure_logs
from common.settings import SettingsError, quiet_grpc
from edge.connections import make_room
from edge.leaving import Stopping
from edge.listener import LastingServer, TlsServer
from edge.logs import GRANIAN_LOGGING, granian_level
from edge.metrics import show_metrics
from edge.numbers import Rows
from edge.settings import EdgeSettings, from_environment
from edge.stopping import hold_signals, on_signals
from edge.tls_files import (
    ServiceTls,
    TlsFiles,
    UnusableFilesError,
    load_pair,
    load_service_tls,
    look_regularly,
    look_silently,
)

if TYPE_CHECKING:
    from edge.asgi import Edge

_CANNOT_START: Final = 2
_TARGET: Final = "edge.worker:load_worker"  # a name for logs; what is loaded is `_load_worker`

_log = structlog.get_logger(__name__)


def main() -> int:
    """Serves until told to stop, and gives the exit code: 0 after a clean stop, 2 if it cannot start."""
    configure_logs(LogLevel.INFO)  # until the settings say otherwise
    quiet_grpc()
    try:
        settings = from_environment()
    except SettingsError as error:
        print("The settings cannot be used:", *error.problems, sep="\n  - ", file=sys.stderr)
        return _CANNOT_START
    configure_logs(settings.log_level)
    try:
        address = _free_address(settings.host, settings.port)
    except OSError as error:
        print(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "HOST and PORT say where to listen.",
            file=sys.stderr,
        )
        return _CANNOT_START
    code = _serve(settings, address)
    gc.freeze()  # there is nothing that Python would have to find before it ends, and it would look twice
    return code


def _free_address(host: str, port: int) -> str:
    """The IP address of a host, on which the port is free.

    granian takes no host names, and shares a port silently with whoever has set SO_REUSEPORT on it.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
    return str(address[0])


def _serve(settings: EdgeSettings, address: str) -> int:
    hold_signals()
    # As from Python 3.14 on is not the default: workers inherit the listening socket and the held signals.
    multiprocessing.set_start_method("fork")
    try:
        own = TlsFiles(settings.listener_files, load_pair) if settings.listener_files else None
        service = TlsFiles(settings.service_files, load_service_tls) if settings.service_files else None
    except UnusableFilesError as error:  # they were good when the settings were read
        print(f"The files for TLS have changed and cannot be used: {error}", file=sys.stderr)
        return _CANNOT_START
    rows = Rows(settings.workers)
    metrics_port = None
    if settings.metrics_listen is not None:
        try:
            metrics_port = show_metrics(rows, settings.metrics_listen)
        except OSError as error:
            print(
                f"Cannot listen on {settings.metrics_listen}: {error.strerror}. "
                "TENANTROOMS_EDGE_METRICS_LISTEN says where the metrics are shown.",
                file=sys.stderr,
            )
            return _CANNOT_START
    looks: list[Callable[[], object]] = []
    if service is not None:
        # For workers that are yet to start. Those that run look themselves, and say what they see.
        looks.append(partial(look_silently, service))
    options = _options(settings, address)
    if own is None:
        server = LastingServer(_TARGET, **options)
    else:
        server = tls = TlsServer(_TARGET, own, settings.tls_min_version, **options)
        looks.append(tls.look)
    look_regularly(*looks)
    serves = multiprocessing.Event()

    def announce() -> None:
        serves.wait()
        _announce(settings, address, metrics_port)

    server.on_startup(threading.Thread(target=announce, name="announce", daemon=True).start)
    stopping = Stopping()

    def stop() -> None:
        stopping.begin()
        server.interrupt()

    on_signals(stop, server.kill_workers)
    try:
        server.serve(
            # What replaces a worker is told of in another way.
            target_loader=partial(_load_worker, settings, service, rows, stopping, ready=serves.set),
            wrap_loader=False,
        )
    except SystemExit:
        # A worker that the same signal has ended first is no failure.
        if not server.interrupt_signal:
            raise
    return 0


def _options(settings: EdgeSettings, address: str) -> dict[str, Any]:
    return {
        "address": address,
        "port": settings.port,
        "interface": Interfaces.ASGI,
        "workers": settings.workers,
        "loop": Loops.uvloop,
        "backpressure": make_room(),
        "http": HTTPModes.http1,
        "websockets": False,
        "http1_settings": HTTP1Settings(
            header_read_timeout=round(settings.header_timeout_seconds * 1000),
            # Enough for a request that is a little over the limits, so that its refusal is JSON.
            max_buffer_size=settings.max_path_bytes + settings.max_header_bytes + 24 * 1024,
        ),
        "log_level": granian_level(settings.log_level),
        "log_dictconfig": GRANIAN_LOGGING,
        "respawn_failed_workers": True,
        "workers_kill_timeout": settings.stop_timeout_seconds + math.ceil(settings.announce_seconds),
    }


def _announce(settings: EdgeSettings, address: str, metrics_port: int | None) -> None:
    _log.info(
        "serving",
        address=f"{address}:{settings.port}",
        tls=bool(settings.listener_files),
        service=settings.grpc_target,
        service_tls=settings.grpc_tls,
        metrics_port=metrics_port,
    )
    if not settings.listener_files and not is_loopback(address):
        _log.warning(
            "plain_text_listener",
            problem="callers' credentials cross the network unencrypted, unless a TLS proxy is in front",
            address=f"{address}:{settings.port}",
        )
    if not settings.grpc_tls and not is_local(settings.grpc_target):
        _log.warning(
            "plain_text_to_the_service",
            problem="callers' credentials cross the network unencrypted",
            service=settings.grpc_target,
        )


def _load_worker(
    settings: EdgeSettings,
    service: TlsFiles[ServiceTls] | None,
    rows: Rows,
    stopping: Stopping,
    listener: int,
    *,
    ready: Callable[[], object],
) -> "Edge":
    from edge.worker import load_worker  # noqa: PLC0415 - only in a worker

    return load_worker(settings, service, rows, listener, stopping, ready=ready)


if __name__ == "__main__":
    sys.exit(main())
