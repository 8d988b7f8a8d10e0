"""Owns how a worker ends without failing anybody: what it stops accepting, what it tells, for how long.

Before it: `stopping` has taken a signal. After it: granian finishes what is under way, and ends.

Where the whole edge stops, it first serves on for a while, and says that it is not ready and that connections
end. Then the kernel drops whoever wants to connect, while those that are connected already are still served:
closing the socket at once would lose them. Where a worker gives way to another, that one goes on accepting.
"""

import ctypes
import os
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

LEAVE_SECONDS: Final = 1.0
"""How long a worker that accepts no more serves on: for handshakes to end, and each client to hear of it."""

_STOPPING_SECONDS: Final = 0.2
"""How long a worker that is to end waits to hear that all are."""

_ACCEPT_SECONDS: Final = 0.2
"""How long connections that are made may wait to be accepted, and to send their request."""

_SO_ATTACH_FILTER: Final = 26
# A program of the kernel's packet filter, for one listening socket: keep all but a TCP segment with SYN.
_NO_SYN: Final = (
    (0x30, 0, 0, 13),  # load the byte with TCP's flags
    (0x45, 0, 1, 0x02),  # is SYN set?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # keep it
)


class Stopping:
    """Whether the edge as a whole is to end, for all its processes.

    Made before the workers, which inherit it. (An event of `multiprocessing` can hang when one that waits for
    it is killed.)
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def begin(self) -> None:
        """The edge is to end."""
        os.write(self._write, b".")

    def wait(self, seconds: float) -> bool:
        """Whether it is to end, or will be within this time."""
        return bool(select.select([self._read], [], [], seconds)[0])  # nobody takes the byte out


class Leave:
    """How one worker gets ready to end.

    Args:
        descriptor: of its listening socket, on which another worker may listen too.
        stopping: whether all end.
        announce_seconds: how long all serve on then, before they accept no more.
    """

    def __init__(self, descriptor: int, stopping: Stopping, announce_seconds: float) -> None:
        self._descriptor = descriptor
        self._stopping = stopping
        self._announce_seconds = announce_seconds
        self._begun = threading.Event()

    @property
    def begun(self) -> bool:
        """Whether answers should tell clients to use another connection."""
        return self._begun.is_set()

    def __call__(self) -> None:
        """Blocks until this worker may end."""
        if self._stopping.wait(_STOPPING_SECONDS):
            self._begun.set()
            if self._announce_seconds:
                time.sleep(self._announce_seconds)
                _refuse_connections(self._descriptor)
                time.sleep(_ACCEPT_SECONDS)
            return
        _stop_accepting(self._descriptor)
        self._begun.set()
        time.sleep(LEAVE_SECONDS)


def _refuse_connections(descriptor: int) -> None:
    """Lets nobody connect any more. Who tries hears nothing, tries again in a second, and is refused then."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _NO_SYN))
    program = struct.pack("HP", len(_NO_SYN), ctypes.addressof(code))
    # Where there is no such filter, connections that are just being made may fail.
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _stop_accepting(descriptor: int) -> None:
    """Keeps this process's event loops from hearing of new connections to its listening socket.

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
