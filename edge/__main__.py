"""Owns the edge's process: reads the settings, runs granian, says why when it cannot.

Before it: nothing. After it: `worker`, in each of granian's worker processes.
"""

import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

from edge.logs import configure_logs
from edge.settings import EdgeSettings, SettingsError, from_environment
from edge.stopping import hold_signals, on_first_signal

if TYPE_CHECKING:
    from edge.asgi import Edge

_CANNOT_START: Final = 2

_log = structlog.get_logger(__name__)


def main() -> int:
    """Serves until told to stop, and gives the exit code: 0 after a clean stop, 2 if it cannot start."""
    configure_logs()
    try:
        settings = from_environment()
    except SettingsError as error:
        print("The settings cannot be used:", *error.problems, sep="\n  - ", file=sys.stderr)
        return _CANNOT_START
    try:
        address = _free_address(settings.host, settings.port)
    except OSError as error:
        print(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "HOST and PORT say where to listen.",
            file=sys.stderr,
        )
        return _CANNOT_START
    return _serve(settings, address)


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
    server = Granian(
        "edge.worker:load_worker",
        address=address,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        http1_settings=HTTP1Settings(
            header_read_timeout=round(settings.header_timeout_seconds * 1000),
            # Enough for a request that is a little over the limits, so that its refusal is JSON.
            max_buffer_size=settings.max_path_bytes + settings.max_header_bytes + 24 * 1024,
        ),
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        workers_kill_timeout=settings.stop_timeout_seconds,
    )
    server.on_startup(
        lambda: _log.info("serving", address=f"{address}:{settings.port}", service=settings.grpc_target)
    )
    on_first_signal(server.signal_handler_interrupt)
    try:
        server.serve(target_loader=partial(_load_worker, settings), wrap_loader=False)
    except SystemExit:
        # A worker that the same signal has ended first is no failure.
        if not server.interrupt_signal:
            raise
    return 0


def _load_worker(settings: EdgeSettings) -> "Edge":
    from edge.worker import load_worker  # noqa: PLC0415 - only in a worker

    return load_worker(settings)


if __name__ == "__main__":
    sys.exit(main())
