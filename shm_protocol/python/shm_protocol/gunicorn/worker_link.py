"""A worker's connection to TypeScript, in a thread of its own: dialled after the fork, and again when Node goes away.

The thread serves TypeScript's calls beside whatever the worker's handlers do. What it runs is never in the context of a
handler, and a handler's calls to TypeScript go another way (worker_client.py).
"""

import logging
import select
import threading
from collections.abc import Callable
from typing import Final

from ..attendance import Attendance
from ..config import Settings
from ..connection import Connection
from ..dialing import dial
from ..exposed import Exposed
from ..forks import Owner
from ..wake import Wake

logger: Final = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S: Final = 2.0

LEAVE_TIMEOUT_S: Final = 2.0
"""How long a worker that stops waits for Node to have heard of it, and answers the calls that Node had made before."""


class WorkerLink:
    """Serves TypeScript's calls. Whatever ends a connection, but for a function that ends the process, it dials again.

    Called in the link's thread: `on_attach` when Node is there, before its first call is served; `on_exit` when a
    function asks for the process's end (SystemExit, KeyboardInterrupt).
    """

    def __init__(
        self,
        settings: Settings,
        exposed: Exposed,
        *,
        name: str,
        on_attach: Callable[[], object],
        on_exit: Callable[[], object],
    ) -> None:
        self._settings: Final = settings
        self._exposed: Final = exposed
        self._name: Final = name
        self._on_attach: Final = on_attach
        self._on_exit: Final = on_exit
        self._attendance: Final = Attendance(self._dial, _serve_beside_handlers, LEAVE_TIMEOUT_S, outlasts=(Exception,))
        self._thread: Final = threading.Thread(target=self._run, name="ring", daemon=True)
        self._has_tried: Final = threading.Event()
        self._is_dialling = False

    def open(self) -> None:
        """Dials for the first time, and waits for the outcome: whoever serves before fails requests for nothing."""
        self._thread.start()
        self._has_tried.wait(HANDSHAKE_TIMEOUT_S)

    def finish_dialling(self) -> None:
        """Waits for an attempt to dial that is under way: cut off, it would leave the name of its segment behind."""
        self._attendance.stop()
        if self._is_dialling:
            self._thread.join(HANDSHAKE_TIMEOUT_S)

    def close(self) -> None:
        """Answers the calls that have arrived, and ends the connection. A call that does not return is given up."""
        self._attendance.stop()
        self._thread.join(HANDSHAKE_TIMEOUT_S + LEAVE_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning("a call of Node's is left unanswered: the function is still running")
        else:
            self._attendance.wake.close()

    def _run(self) -> None:
        try:
            self._attendance.serve()
        except (SystemExit, KeyboardInterrupt) as error:
            logger.warning("a function that Node called ends this worker: %r", error)
            self._on_exit()

    def _dial(self) -> Connection:
        self._is_dialling = True
        try:
            connection = dial(
                self._settings, role="worker", exposed=self._exposed, name=self._name, timeout=HANDSHAKE_TIMEOUT_S
            )
            self._on_attach()
            logger.info("attached to Node over %s", connection.transport)
        finally:
            self._is_dialling = False
            self._has_tried.set()
        return connection


def _serve_beside_handlers(connection: Connection, wake: Wake) -> None:
    """Not as Connection.serve_until, which lets go of the interpreter's lock to look for a call, and would wait each
    time for a handler to let go of it. While calls follow each other this looks with the lock held.
    """
    owner = Owner()
    parked = select.poll()
    for descriptor in (connection.fileno(), wake.fileno()):
        parked.register(descriptor, select.POLLIN)
    while not wake.is_set:
        state = connection.poll()
        if state == "ready":
            try:
                connection.serve_ready()
            finally:
                owner.end_others()
        elif state == "parked":
            parked.poll()
            connection.unpark()
