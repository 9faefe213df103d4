"""What one connection of a client's has lent is called on that very connection, which other threads use as well."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from threading import Lock
from typing import Any, Final, Protocol

from .connection import Connection
from .errors import BridgeError
from .options import DEFAULT_TIMEOUT_S
from .streams import Stream


class Pool(Protocol):
    """The client that the connection is one of."""

    def leased(self, connection: Connection, method: str, timeout: float | None) -> AbstractContextManager[None]:
        """See Client."""
        ...

    def stream_on(
        self,
        connection: Connection,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        timeout: float | None,
        credit: int,
        *,
        handles: bool,
    ) -> Any:
        """See Client."""
        ...

    def is_mine(self, connection: Connection) -> bool:
        """See Client."""
        ...

    def take(self, connection: Connection) -> bool:
        """See Client."""
        ...

    def release(self, connection: Connection) -> None:
        """See Client."""
        ...


class Keeping:
    """Streams keep a connection from other threads. turn: held while one of them is read. streams: how many. dropped:
    those that nobody has any more, for whoever has the turn to close.
    """

    __slots__ = ("dropped", "streams", "turn")

    def __init__(self) -> None:
        self.turn: Final = Lock()
        self.streams = 0
        self.dropped: Final[deque[Stream]] = deque()

    def close_dropped(self) -> None:
        """By whoever has the turn and owns the connection."""
        while self.dropped:
            self.streams -= 1
            # Where the connection has ended, so have they.
            with suppress(BridgeError):
                self.dropped.popleft().close()


class PooledCaller:
    """Calls what a connection of a client's has lent. See references.ReferenceCaller."""

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool: Final = pool
        self._connection: Final = connection

    def call_reference(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float | None, *, handles: bool
    ) -> Any:
        """Once it is this thread's turn. Raises Busy where that does not come within the timeout."""
        with self._pool.leased(self._connection, method, timeout):
            return self._connection.call_reference(method, args, kwargs, timeout, handles=handles)

    def stream_reference(
        self,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        timeout: float | None,
        credit: int,
        *,
        handles: bool,
    ) -> Any:
        """Likewise."""
        with self._pool.leased(self._connection, method, DEFAULT_TIMEOUT_S if timeout is None else timeout):
            return self._pool.stream_on(self._connection, method, args, kwargs, timeout, credit, handles=handles)

    def tell_references(self) -> None:
        """Now, where nobody else uses the connection; else with what is sent on it next."""
        if self._pool.is_mine(self._connection):
            self._connection.tell_references()
        elif self._pool.take(self._connection):
            try:
                self._connection.tell_references()
            finally:
                self._pool.release(self._connection)
