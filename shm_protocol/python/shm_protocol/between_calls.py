"""What other threads have for the one that serves: it does that between two calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn

from .connection import Connection
from .errors import BridgeError
from .wake import Wake


class BetweenCalls:
    """Serves a connection, and between two calls does what other threads have given it to do."""

    def __init__(self) -> None:
        self._jobs: Final[deque[Callable[[], None]]] = deque()
        self._wake = Wake()

    def add(self, job: Callable[[], None]) -> None:
        """Have it done, soon. In any thread. It may raise what ends the connection, or the program."""
        self._jobs.append(job)
        # Last: whoever finds it set finds the job.
        self._wake.set()

    def serve(self, connection: Connection) -> NoReturn:
        """Until the peer ends. Raises PeerGone then."""
        while True:
            connection.serve_until(self._wake)
            # First: what is added from now on wakes anew.
            self._wake.close()
            self._wake = Wake()
            while self._jobs:
                try:
                    self._jobs.popleft()()
                except BridgeError as error:
                    connection.end_for(error)
                    raise
