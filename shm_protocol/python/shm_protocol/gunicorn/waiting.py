"""Connections that wait for the same thing, each as long as the others."""

import itertools
import time
from collections import deque

from .http_connection import HttpConnection


class Waiting(deque[HttpConnection]):
    """A queue of them, sorted by `expires`, as time.monotonic() counts. Each waits in one at a time.

    seconds: how long they wait, from when they are added.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def add(self, conn: HttpConnection) -> None:
        """Has it wait here, from now on."""
        stop_waiting(conn)
        conn.expires = time.monotonic() + self.seconds
        conn.queue = self
        self.append(conn)

    def expired(self, now: float) -> list[HttpConnection]:
        """Those that have waited long enough."""
        return list(itertools.takewhile(lambda conn: conn.expires < now, self))

    def silent_for(self, seconds: float) -> list[HttpConnection]:
        """Those that have waited so long by now."""
        return self.expired(time.monotonic() + self.seconds - seconds)

    def hasten(self, seconds: float) -> None:
        """Leaves those that have sent nothing so long from now on, at most."""
        end = time.monotonic() + seconds
        for conn in self:
            conn.expires = conn.expires if conn.buffer.has_begun else min(conn.expires, end)
        in_order = sorted(self, key=lambda conn: conn.expires)
        self.clear()
        self.extend(in_order)


def stop_waiting(conn: HttpConnection) -> None:
    """Wherever it waits, if it does."""
    if conn.queue is not None:
        conn.queue.remove(conn)
        conn.queue = None
