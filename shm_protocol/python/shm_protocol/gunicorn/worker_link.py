"""A worker's connection to TypeScript, in a thread of its own: dialled after the fork, and again when Node goes away.

The thread serves TypeScript's calls beside whatever the worker's handlers do. What it runs is never in the context of a
handler, and a handler's calls to TypeScript go another way (worker_client.py).
"""

import logging
import os
import select
import threading
from collections.abc import Callable
from typing import Final

from ..config import Settings
from ..connection import Connection
from ..dialing import dial
from ..errors import BridgeError, CallTimeout, ConnectionClosed, PeerGone, ProtocolError
from ..exposed import Exposed
from .forked import Owner

logger: Final = logging.getLogger(__name__)

ENDED: Final = (PeerGone, ProtocolError, ConnectionClosed)
"""What a connection raises when it has ended."""

HANDSHAKE_TIMEOUT_S: Final = 2.0

LEAVE_TIMEOUT_S: Final = 2.0
"""How long a worker that stops waits for Node to have heard of it, and answers the calls that Node had made before."""

FIRST_DELAY_S: Final = 0.05
LONGEST_DELAY_S: Final = 0.5
"""Seconds between two attempts to dial: the delay doubles from the first to the longest."""


class WorkerLink:
    """Serves TypeScript's calls.

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
        self._settings = settings
        self._exposed = exposed
        self._name = name
        self._on_attach = on_attach
        self._on_exit = on_exit
        self._thread: threading.Thread | None = None
        self._has_tried = threading.Event()
        self._is_dialling = False
        self._is_closing = False
        self._wakes: tuple[int, int] = (-1, -1)
        self._delay = FIRST_DELAY_S

    def open(self) -> None:
        """Dials for the first time, and waits for the outcome: whoever serves before fails requests for nothing."""
        self._is_closing = False
        self._has_tried.clear()
        self._wakes = os.pipe()
        self._thread = threading.Thread(target=self._run, name="ring", daemon=True)
        self._thread.start()
        self._has_tried.wait(HANDSHAKE_TIMEOUT_S)

    def finish_dialling(self) -> None:
        """Waits for an attempt to dial that is under way: cut off, it would leave the name of its segment behind."""
        self._is_closing = True
        if self._is_dialling and self._thread is not None:
            self._thread.join(HANDSHAKE_TIMEOUT_S)

    def close(self) -> None:
        """Answers the calls that have arrived, and ends the connection. A call that does not return is given up."""
        self._is_closing = True
        thread, self._thread = self._thread, None
        if thread is None:
            return
        os.write(self._wakes[1], b"\0")
        thread.join(HANDSHAKE_TIMEOUT_S + LEAVE_TIMEOUT_S)
        if thread.is_alive():
            logger.warning("a call of Node's is left unanswered: the function is still running")
            return
        for descriptor in self._wakes:
            os.close(descriptor)

    def _run(self) -> None:
        while not self._is_closing:
            connection = self._dial()
            self._has_tried.set()
            if connection is None:
                self._pause()
                continue
            try:
                self._serve(connection)
            except ENDED as error:
                logger.warning("lost the connection to Node: %s", error)
                self._pause()
            except (SystemExit, KeyboardInterrupt) as error:
                logger.warning("a function that Node called ends this worker: %r", error)
                self._on_exit()
                return
            except Exception:
                logger.exception("the connection to Node is closed, and made anew")
                self._pause()
            finally:
                connection.close()

    def _dial(self) -> Connection | None:
        self._is_dialling = True
        try:
            connection = dial(
                self._settings, role="worker", exposed=self._exposed, name=self._name, timeout=HANDSHAKE_TIMEOUT_S
            )
        except BridgeError as error:
            if self._delay == FIRST_DELAY_S:
                logger.warning("cannot attach to Node, will try again: %s", error)
            return None
        finally:
            self._is_dialling = False
        self._delay = FIRST_DELAY_S
        self._on_attach()
        logger.info("attached to Node over %s", connection.transport)
        return connection

    def _serve(self, connection: Connection) -> None:
        owner = Owner()
        parked = select.poll()
        for descriptor in (connection.fileno(), self._wakes[0]):
            parked.register(descriptor, select.POLLIN)
        while not self._is_closing:
            state = connection.poll()
            if state == "ready":
                try:
                    connection.serve_ready()
                finally:
                    owner.end_others()
            elif state == "parked":
                parked.poll()
                connection.unpark()
        try:
            # Node asks the other workers from now on; what it had asked this one before is still answered.
            connection.leave(LEAVE_TIMEOUT_S)
        except CallTimeout as error:
            logger.warning("calls of Node's are left unanswered: %s", error)
        except ENDED as error:
            logger.info("the connection to Node ended while it was being closed: %s", error)

    def _pause(self) -> None:
        select.select([self._wakes[0]], [], [], self._next_delay())

    def _next_delay(self) -> float:
        delay, self._delay = self._delay, min(2 * self._delay, LONGEST_DELAY_S)
        return delay
