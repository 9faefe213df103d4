"""Takes new connections, unless another worker may have a thread for one sooner, or there is no room for it."""

import errno
import socket
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from gunicorn.glogging import Logger

SHORTAGES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Why a connection cannot be accepted now, though it can be later: the process or the machine has run out of it."""

SHORTAGE_PAUSE_S: Final = 1.0
"""How long the worker accepts nobody then. Clients wait meanwhile, in the listener's backlog."""

FULL_PAUSE_S: Final = 0.02
"""How long a worker that has no thread free leaves a connection to another worker that may have one."""

REPORT_S: Final = 10.0
"""How often it is said, at most, that there are as many connections as there may be."""


class Worker(Protocol):
    """What it needs of the worker, all of it gunicorn's."""

    log: Logger
    nr_conns: int
    worker_connections: int

    def set_accept_enabled(self, enabled: bool) -> None:
        """Has the poller watch the listeners, or not."""


class HttpAcceptor:
    """Called by the thread that leads.

    is_full: whether every thread is taken. make_room: lets go of a connection whose client is silent; False if there is
    none. begin: what becomes of a new connection, of its socket, the client's address and the listener's.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        is_full: Callable[[], bool],
        make_room: Callable[[], bool],
        begin: Callable[[socket.socket, Any, Any], None],
    ) -> None:
        self._worker: Final = worker
        self._is_full: Final = is_full
        self._make_room: Final = make_room
        self._begin: Final = begin
        self._accepts_after = 0.0
        self._has_paused = False
        self._next_report = 0.0

    def look(self) -> float:
        """Has the poller watch the listeners unless there is a pause. Gives the seconds that are left of it, if any."""
        pause = self._accepts_after - time.monotonic()
        self._worker.set_accept_enabled(pause <= 0)
        return pause

    def stop(self) -> None:
        """Takes no more."""
        self._worker.set_accept_enabled(False)

    def accept(self, listener: socket.socket) -> None:
        """Takes a new connection. Called when a listener is readable."""
        if self._is_full():
            self._has_paused = not self._has_paused
            if self._has_paused:
                self._pause(FULL_PAUSE_S)
                return
        if self._worker.nr_conns >= self._worker.worker_connections:
            if not self._make_room():
                self._pause(FULL_PAUSE_S)
                return
            self._report_full()
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in SHORTAGES:
                self._pause(SHORTAGE_PAUSE_S)
                self._report_shortage(error)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self._worker.nr_conns += 1
        self._begin(sock, client, listener.getsockname())

    def _pause(self, seconds: float) -> None:
        self._accepts_after = time.monotonic() + seconds

    def _report_full(self) -> None:
        now = time.monotonic()
        if now >= self._next_report:
            self._next_report = now + REPORT_S
            self._worker.log.warning(
                "There are %d connections, as many as --worker-connections: silent clients are let go of",
                self._worker.nr_conns,
            )

    def _report_shortage(self, error: OSError) -> None:
        """The worker goes on with the connections there are: to end it would fail them all, and help nobody."""
        self._worker.log.error(
            "No connection can be accepted for %g s: %s (%s); this worker has %d. Raise the limit (`ulimit -n`), or "
            "set --worker-connections lower",
            SHORTAGE_PAUSE_S,
            error.strerror,
            errno.errorcode[cast("int", error.errno)],
            self._worker.nr_conns,
        )
