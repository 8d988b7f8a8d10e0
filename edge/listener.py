"""Owns the listening sockets of the edge, and how workers give way to others.

Each worker has a listening socket, between which the kernel spreads connections, and which the process that
starts the workers holds open. So nobody is refused when one dies: who connects waits until there is another,
which listens on the same socket.

granian reads certificate and key when a worker starts, so a new pair means new workers. granian's own way to
replace them loses requests: it ends them one after the other, each with the connections that wait to be
accepted, that are in the middle of a handshake, or that are about to send the next request. Here the new ones
start first, on the old ones' sockets, and an old one stops accepting before it ends.
Before it: `__main__`. After it: `worker`, in each new process, and `leaving` when one is to end.
"""

import multiprocessing
import socket
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import connection
from typing import Any, Final

import structlog
from granian.constants import SSLProtocols
from granian.net import SocketSpec  # type: ignore[attr-defined]  # granian's own name for it
from granian.server.mp import MPServer, WorkerProcess

from edge.tls_files import Pair, PairInMemory, TlsFiles, UnusableFilesError

START_SECONDS: Final = 30.0
"""How long new workers may take until they serve. The old ones serve as long, and go on if they do not."""

_log = structlog.get_logger(__name__)


class LastingServer(MPServer):
    """granian, with listening sockets that outlive workers."""

    def interrupt(self) -> None:
        """Stops the workers, each of which finishes what is under way, and then ends."""
        self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def kill_workers(self) -> None:
        """Ends all workers at once, whatever they are doing."""
        for worker in self.wrks:
            worker.kill()

    def _goes_back(self) -> None:
        """Is called when new workers did not start, so that those from before go on."""

    def _init_shared_socket(self) -> None:
        # As on systems whose kernel does not spread connections, but one for each worker, as here it does.
        self._sockets: list[tuple[Any, socket.socket]] = []
        for _ in range(self.workers):
            held: Any = SocketSpec(self.bind_addr, self.bind_port, self.backlog).build()
            listener = socket.socket(fileno=held.get_fd())
            listener.set_inheritable(True)
            self._sockets.append((held, listener))
        self._ssp = None

    def _drop_shared_socket(self) -> None:
        for _, listener in self._sockets:
            listener.close()

    def _spawn_worker(  # type: ignore[override]  # as granian does for processes
        self, idx: int, target: Any, callback_loader: Callable[..., Any]
    ) -> WorkerProcess:
        self._shd, self._sso = self._sockets[idx]
        return super()._spawn_worker(idx, target, partial(callback_loader, self._sso.fileno()))

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
                    or len(_running(new)) < len(new)
                ),
            )
        _expect_exits(new, False)
        serve = all(event.is_set() for event in ready) and len(_running(new)) == len(new)
        if delay and not serve and not self.interrupt_signal:
            _expect_exits(new, True)
            self._end(new)
            self._goes_back()
            _log.error("new_workers_do_not_start", problem="the old ones go on as they are")
            return
        for worker in new:
            self.wrks[worker.idx] = worker
        self._end(old)
        if delay:
            _log.info("workers_replaced", workers=len(new))

    def _end(self, workers: list[WorkerProcess]) -> None:
        for worker in workers:
            worker.terminate()
        self._wait(self._stop_seconds(), lambda: self.interrupt_signal or not _running(workers))
        if self.interrupt_signal:
            # All are to stop now, and these in the same time as the others.
            self.wrks += [worker for worker in workers if worker not in self.wrks]
            return
        _kill(_running(workers))

    def _stop_workers(self) -> None:
        for worker in self.wrks:
            worker.terminate()
        self._wait(self._stop_seconds(), lambda: not _running(self.wrks))
        _kill(_running(self.wrks))
        self.wrks.clear()

    def _stop_seconds(self) -> float:
        return float(self.workers_kill_timeout or 15)

    def _wait(self, seconds: float, is_over: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not is_over():
            time.sleep(0.05)


class TlsServer(LastingServer):
    """The same with TLS.

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

    def _goes_back(self) -> None:
        self._pair.close()
        self._pair = self._former_pair
        self._show(self._pair)


def _running(workers: list[WorkerProcess]) -> list[WorkerProcess]:
    """Those that have not ended.

    Not by `is_alive`: granian's own threads wait for workers too, and until the one that has learnt of an end
    has noted it, the worker passes for alive. So granian alone warns of killing workers which had ended.
    """
    ended = connection.wait([worker.inner.sentinel for worker in workers], timeout=0)
    return [worker for worker in workers if worker.inner.sentinel not in ended]


def _kill(workers: list[WorkerProcess]) -> None:
    """Ends workers that did not end when they should have."""
    for worker in workers:
        _log.warning("worker_killed", problem="it did not stop in time", worker=worker.idx + 1)
        worker.kill()
        worker.join()


def _expect_exits(workers: list[WorkerProcess], expected: bool) -> None:
    for worker in workers:
        worker.interrupt_by_parent = expected
