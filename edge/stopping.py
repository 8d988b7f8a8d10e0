"""Owns how signals stop the edge: cleanly, whenever the first comes, and at once by a second.

granian 2.8 alone loses a signal that reaches a worker before its event loop serves, and hangs on two that
come close together, as Ctrl-C (which a terminal sends to every process) and supervisors cause. So signals
are held back in all threads and processes of the edge, and one thread in each process takes them.
Before it: `__main__` and `worker`. After it: granian's own way to stop.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Final

import granian._signals
from granian._granian import WorkerSignal

_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM})


def hold_signals() -> None:
    """Holds signals back in this thread, and in every thread and process that it starts from now on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def on_signals(act: Callable[[], object], act_again: Callable[[], object] | None = None) -> None:
    """Calls `act`, in a thread of its own, at the first signal, also if that has come already.

    Signals have to be held back in all threads.

    Args:
        act: what to do then.
        act_again: what to do at the second one; None ignores it, as every later one is ignored.
    """

    def wait() -> None:
        signal.sigwait(_SIGNALS)
        act()
        if act_again is not None:
            signal.sigwait(_SIGNALS)
            act_again()

    threading.Thread(target=wait, name="signals", daemon=True).start()


def stop_worker_on_first_signal(prepare: Callable[[], object] = lambda: None) -> None:
    """Makes granian, in the worker process that calls this, stop as described above.

    To be called before granian sets its own handlers, so from where it loads the application.

    Args:
        prepare: is called, in a thread of its own, before granian stops.
    """

    def set_on_first_signal(_loop: asyncio.AbstractEventLoop) -> WorkerSignal:
        event = WorkerSignal()

        def stop() -> None:
            try:
                prepare()
            finally:
                event.set()  # a second `set` could block for ever, with the GIL held

        on_signals(stop)
        return event

    granian._signals.set_loop_signals = set_on_first_signal  # noqa: SLF001 - it has no other way in
