"""A worker's connection to TypeScript: dialled after the fork, and again whenever Node goes away.

The worker serves HTTP meanwhile: each attempt to dial runs in a thread, because a Node that is there but does not
answer would hold it up for the whole of the handshake's time-out. Everything else happens in the worker's one thread.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import shm_protocol
from shm_protocol import (
    BridgeError,
    CallTimeout,
    Connection,
    ConnectionClosed,
    PeerGone,
    PeerUnavailable,
    ProtocolError,
)

logger: Final = logging.getLogger(__name__)

ENDED: Final = (PeerGone, ProtocolError, ConnectionClosed)
"""What a connection raises when it has ended."""

HANDSHAKE_TIMEOUT_S: Final = 2.0

LEAVE_TIMEOUT_S: Final = 2.0
"""How long a worker that stops waits for Node to have heard of it, and answers the calls that Node had made before."""

FIRST_DELAY_S: Final = 0.05
LONGEST_DELAY_S: Final = 0.5
"""Seconds between two attempts to dial: the delay doubles from the first to the longest."""

SERVE_SLICE_S: Final = 0.0002
"""How long a worker serves call after call from TypeScript before it looks at HTTP again."""


class Loop(Protocol):
    """What the link needs of the worker's loop."""

    def defer(self, callback: Callable[..., object], *args: object) -> None:
        """Runs `callback` in the loop's thread. May be called from any thread."""

    def watch(self, descriptor: int) -> None:
        """Wakes the loop when a file descriptor becomes readable."""

    def unwatch(self, descriptor: int) -> None:
        """Ends `watch`; the descriptor may be closed already."""


class WorkerLink:
    """Serves TypeScript's calls in the worker's loop, and calls TypeScript from its HTTP handlers."""

    def __init__(self, name: str, expose: Mapping[str, Any], loop: Loop) -> None:
        self._name = name
        self._expose = expose
        self._loop = loop
        self._connection: Connection | None = None
        self._descriptor = -1
        self._parked = False
        self._dialler: threading.Thread | None = None
        self._dialled: Connection | Exception | None = None
        self._delay = FIRST_DELAY_S
        self._next_attempt = 0.0

    def open(self) -> None:
        """Dials for the first time, and waits for the outcome: whoever serves before fails requests for nothing."""
        self._dial_when_due()
        self.finish_dialling()
        self._end_dialling()

    def call(self, method: str, *args: Any, timeout: float) -> Any:
        """Calls TypeScript over the worker's connection. Raises BridgeError; PeerUnavailable when there is none now."""
        if self._connection is None:
            raise PeerUnavailable("this worker is not attached to Node; it tries again twice a second")
        try:
            return self._connection.call(method, *args, timeout=timeout)
        except ENDED as error:
            self._lost(error)
            raise

    def serve(self) -> float:
        """Serves the calls that have arrived or arrive within the spin budget, for a slice of time.

        Gives the seconds that the caller may sleep at most: 0 when there may be more to serve. Otherwise the connection
        is parked until `resume`.
        """
        connection = self._connection
        if connection is None:
            self._dial_when_due()
            return max(0.0, self._next_attempt - time.monotonic()) if self._dialler is None else math.inf
        try:
            end = time.monotonic() + SERVE_SLICE_S
            while (state := connection.poll()) != "parked":
                if state == "ready":
                    connection.serve_ready()
                if time.monotonic() > end:
                    return 0.0
            self._parked = True
        except ENDED as error:
            self._lost(error)
            return 0.0
        return math.inf

    def resume(self) -> None:
        """Ends the pause that began when `serve` parked the connection."""
        if self._parked and self._connection is not None:
            self._parked = False
            try:
                self._connection.unpark()
            except ENDED as error:
                self._lost(error)

    def set_busy(self, busy: bool) -> None:
        """Tells Node whether this worker is occupied with something else, so that it asks another first."""
        if self._connection is not None:
            self._connection.set_busy(busy)

    def finish_dialling(self) -> None:
        """Waits for an attempt to dial that is under way: cut off, it would leave the name of its segment behind."""
        if self._dialler is not None:
            self._dialler.join(HANDSHAKE_TIMEOUT_S)

    def close(self) -> None:
        """Answers the calls that have arrived, and ends the connection."""
        self.finish_dialling()
        self._end_dialling()
        if self._connection is None:
            return
        try:
            # Node asks the other workers from now on; what it had asked this one before is still answered.
            self._connection.leave(LEAVE_TIMEOUT_S)
        except CallTimeout as error:
            logger.warning("calls of Node's are left unanswered: %s", error)
        except ENDED as error:
            logger.info("the connection to Node ended while it was being closed: %s", error)
        self._drop()

    def _dial_when_due(self) -> None:
        if self._dialler is None and time.monotonic() >= self._next_attempt:
            self._dialler = threading.Thread(target=self._dial, name="dial", daemon=True)
            self._dialler.start()

    def _dial(self) -> None:
        try:
            self._dialled = shm_protocol.attach(expose=self._expose, name=self._name, timeout=HANDSHAKE_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001  # logged by _end_dialling: here nobody would see it
            self._dialled = error
        self._loop.defer(self._end_dialling)

    def _end_dialling(self) -> None:
        dialled, self._dialled = self._dialled, None
        if dialled is None:
            return
        self._dialler = None
        if isinstance(dialled, Connection):
            self._delay = FIRST_DELAY_S
            dialled.owner = threading.get_ident()
            self._connection = dialled
            self._descriptor = dialled.fileno()
            self._parked = False
            self._loop.watch(self._descriptor)
            logger.info("attached to Node over %s", dialled.transport)
        else:
            if self._delay == FIRST_DELAY_S:
                logger.warning("cannot attach to Node, will try again: %s", dialled)
            self._back_off()

    def _lost(self, error: BridgeError) -> None:
        if self._connection is not None:
            logger.warning("lost the connection to Node: %s", error)
            self._drop()
            self._back_off()

    def _back_off(self) -> None:
        self._next_attempt = time.monotonic() + self._delay
        self._delay = min(2 * self._delay, LONGEST_DELAY_S)

    def _drop(self) -> None:
        # At once: the next connection that is accepted may get the same descriptor.
        if self._connection is not None:
            self._loop.unwatch(self._descriptor)
            self._connection.close()
            self._connection = None
