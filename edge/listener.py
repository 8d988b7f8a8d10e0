"""Owns the listening socket of an edge that serves TLS, and how its workers give way to others.

granian reads certificate and key when a worker starts, so a new pair means new workers. granian's own way to
replace them loses requests: it ends them one after the other, each with the connections that wait to be
accepted, that are in the middle of a handshake, or that are about to send the next request. Here all workers
share one listening socket, the new ones start first, and an old one stops accepting before it ends.
Before it: `__main__`. After it: `worker`, in each new process.
"""

import multiprocessing
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from granian.constants import SSLProtocols
from granian.net import SocketSpec  # type: ignore[attr-defined]  # granian's own name for it
from granian.server.mp import MPServer, WorkerProcess

from edge.tls_files import Pair, PairInMemory, TlsFiles, UnusableFilesError

START_SECONDS: Final = 30.0
"""How long new workers may take until they serve. The old ones serve as long, and go on if they do not."""

LEAVE_SECONDS: Final = 1.0
"""How long a worker that accepts no more serves on: for handshakes to end, and each client to hear of it."""

_log = structlog.get_logger(__name__)


class TlsServer(MPServer):
    """granian, with TLS and one listening socket for all workers.

    Args:
        target: as granian takes it, and so are the options.
        files: certificate and key.
        min_version: the oldest TLS that is spoken, `1.2` or `1.3`.
    """

    def __init__(self, target: str, files: TlsFiles[Pair], min_version: str, **options: Any) -> None:
        super().__init__(target, **options)
        self._files = files
        self._min_version = SSLProtocols(f"tls{min_version}")
        self._pair = self._former_pair = PairInMemory(files.value)
        self._show(self._pair)
        self.on_reload(self._reloads)

    def look(self) -> None:
        """Takes up files that have been replaced; to be called as `TlsFiles.look`."""
        try:
            if self._files.look():
                self.reload_signal = True
                self.main_loop_interrupt.set()
        except UnusableFilesError as error:
            _log.error("tls_files_refused", files="of the listener", problem=str(error))

    def _show(self, pair: PairInMemory) -> None:
        shown: Any = (True, pair.path, pair.path, None, str(self._min_version), None, [], False)
        self.ssl_ctx = shown

    def _reloads(self) -> None:
        if self._former_pair is not self._pair:
            self._former_pair.close()
        self._former_pair = self._pair
        self._pair = PairInMemory(self._files.value)
        self._show(self._pair)
        # granian has just forgotten what woke it up; something else may have done so as well.
        if self.interrupt_signal or self.reload_signal:
            self.main_loop_interrupt.set()

    def _init_shared_socket(self) -> None:
        # What granian itself does on systems whose kernel does not spread connections over several sockets.
        shared: Any = SocketSpec(self.bind_addr, self.bind_port, self.backlog).build()
        self._ssp, self._shd = None, shared
        self._listener = socket.socket(fileno=shared.get_fd())
        self._listener.set_inheritable(True)
        self._sso = self._listener

    def _spawn_worker(  # type: ignore[override]  # as granian does for processes
        self, idx: int, target: Any, callback_loader: Callable[..., Any]
    ) -> WorkerProcess:
        return super()._spawn_worker(idx, target, partial(callback_loader, self._listener.fileno()))

    def _respawn_workers(
        self, workers: list[int], spawn_target: Any, target_loader: Any, delay: float = 0
    ) -> None:
        # `delay` is given when the old ones still run. Here it is as long as the new ones need.
        old = [self.wrks[idx] for idx in workers]
        ready = [multiprocessing.Event() for _ in workers]
        new = [
            self._spawn_worker(idx, spawn_target, partial(target_loader, ready=event.set))
            for idx, event in zip(workers, ready, strict=True)
        ]
        _expect_exits(new, True)  # one that cannot start is no crash: the old one is still there
        for worker in new:
            self.respawned_wrks[worker.idx] = time.monotonic()
            worker.start()
        if delay:
            self._wait(
                START_SECONDS,
                lambda: (
                    self.interrupt_signal
                    or all(event.is_set() for event in ready)
                    or not all(worker.is_alive() for worker in new)
                ),
            )
        _expect_exits(new, False)
        serve = all(event.is_set() for event in ready) and all(worker.is_alive() for worker in new)
        if delay and not serve and not self.interrupt_signal:
            _expect_exits(new, True)
            self._end(new)
            self._pair.close()
            self._pair = self._former_pair
            self._show(self._pair)
            _log.error("new_workers_do_not_start", problem="the old ones go on, with the old certificate")
            return
        for worker in new:
            self.wrks[worker.idx] = worker
        self._end(old)
        if delay:
            _log.info("workers_replaced", workers=len(new))

    def _end(self, workers: list[WorkerProcess]) -> None:
        for worker in workers:
            worker.terminate()
        seconds = float(self.workers_kill_timeout or 15)
        self._wait(seconds, lambda: self.interrupt_signal or not any(worker.is_alive() for worker in workers))
        if self.interrupt_signal:
            # All are to stop now, and these in the same time as the others.
            self.wrks += [worker for worker in workers if worker not in self.wrks]
            return
        for worker in workers:
            if worker.is_alive():
                worker.kill()
            worker.join()

    def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not is_over():
            time.sleep(0.05)


def _expect_exits(workers: list[WorkerProcess], expected: bool) -> None:
    for worker in workers:
        worker.interrupt_by_parent = expected


class Leave:
    """How a worker behind a shared socket gets ready to end without failing anybody.

    Args:
        descriptor: of the listening socket.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = threading.Event()

    @property
    def begun(self) -> bool:
        """Whether answers should tell clients to use another connection."""
        return self._begun.is_set()

    def __call__(self) -> None:
        """Stops accepting, and gives what has been accepted a moment; blocks for that long."""
        _stop_accepting(self._descriptor)
        self._begun.set()
        time.sleep(LEAVE_SECONDS)


def _stop_accepting(descriptor: int) -> None:
    """Keeps this process's event loops from hearing of new connections to a shared listening socket.

    It must not be closed or replaced below granian, which would go on using what it registered.
    """
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            watched = [line.split()[1] for line in entry.read_text().splitlines() if line.startswith("tfd:")]
            if str(descriptor) in watched:
                with select.epoll.fromfd(os.dup(int(entry.name))) as poll:
                    poll.unregister(descriptor)
        except OSError:  # closed since, or another name of the same loop
            continue
