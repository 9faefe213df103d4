"""Being there for Node's calls: dial, serve, and dial again, until it is to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Final

from .backoff import Backoff
from .connection import Connection
from .errors import BridgeError, Busy, CallTimeout, ConnectionClosed, PeerGone, PeerUnavailable
from .log import logger
from .wake import Wake

AT_LEAST_S: Final = 0.1
"""So long even where a function has taken all of the time to leave."""


class Attendance:
    """Serves on one connection after the other, in whichever thread calls serve().

    dial: makes a connection. serve_until: serves on it until the wake is set. leave_timeout: seconds that stop() leaves
    to the calls which Node had made before. outlasts: what it dials again after. connection: the one to Node now. wake:
    set when it is to stop.
    """

    def __init__(
        self,
        dial: Callable[[], Connection],
        serve_until: Callable[[Connection, Wake], None],
        leave_timeout: float,
        outlasts: tuple[type[Exception], ...] = (PeerUnavailable, PeerGone, Busy),
    ) -> None:
        self._dial: Final = dial
        self._serve_until: Final = serve_until
        self._leave_timeout: Final = leave_timeout
        self._outlasts: Final = outlasts
        self._leave_until = math.inf  # of time.monotonic(); until stop() there is no such time
        self.wake = Wake()
        self.connection: Connection | None = None

    def stop(self) -> None:
        """See Worker.stop."""
        if self._leave_until == math.inf:
            self._leave_until = monotonic() + self._leave_timeout
        self.wake.set()

    def serve(self) -> None:
        """Serve until stop(), then return. Raises what it does not outlast."""
        backoff = Backoff()
        complaint = ""
        while not self.wake.is_set:
            try:
                with self._dial() as connection:
                    backoff.reset()
                    complaint = ""
                    self.connection = connection
                    self._serve_until(connection, self.wake)
                    self._leave(connection)
            except self._outlasts as error:
                # Once, not at every attempt.
                if str(error) != complaint:
                    complaint = str(error)
                    is_unforeseen = not isinstance(error, BridgeError)
                    logger.warning("%s; dialing again until it succeeds", complaint, exc_info=is_unforeseen)
                self.wake.wait(backoff.next())
            except ConnectionClosed:
                # Interrupted by whoever gave it up, and has said so.
                if not self.wake.is_set:
                    raise
            finally:
                self.connection = None

    def _leave(self, connection: Connection) -> None:
        try:
            # What has come is answered in any case.
            connection.leave(max(AT_LEAST_S, self._leave_until - monotonic()))
        except CallTimeout as error:
            logger.warning("calls are left unanswered: %s", error)
        except PeerGone as error:
            logger.info("Node has ended before the worker had left: %s", error)
