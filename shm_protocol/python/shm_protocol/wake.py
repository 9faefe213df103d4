"""How a thread that waits for messages is woken: by another thread, or by the handler of a signal."""

from __future__ import annotations

import select
import socket
from contextlib import suppress


class Wake:
    """A flag that is set once, and a descriptor that is readable from then on. is_set: whether it is.

    Belongs to the process that made it: a forked child closes its copy, and wakes nobody by it.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def set(self) -> None:
        """Set it. In any thread, and in a signal's handler: there is no lock that whoever is interrupted could hold."""
        self.is_set = True
        # It is closed, or full, and then readable.
        with suppress(OSError):
            self._writer.send(b"\0")

    def wait(self, seconds: float) -> None:
        """Wait until it is set, at most so long."""
        if not self.is_set:
            woken = select.poll()
            woken.register(self._reader, select.POLLIN)
            woken.poll(seconds * 1000)

    def fileno(self) -> int:
        """The descriptor."""
        return self._reader.fileno()

    def close(self) -> None:
        """Let go of the descriptor. It may be set all the same."""
        self._reader.close()
        self._writer.close()

    def __del__(self) -> None:
        # Not a ResourceWarning, for one that nobody ever waited for.
        self.close()
