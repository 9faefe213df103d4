"""What programs use: connect() for a client that threads may share, attach() and serve() for a worker."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from threading import get_ident
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from . import config, forks, handshake
from .config import Settings
from .connection import (
    DEFAULT_CREDIT,
    DEFAULT_TIMEOUT_S,
    Connection,
    CurrentCall,
    Peer,
    StaleConnection,
    Stream,
    being_served,
    current_call,
)
from .dialing import dial
from .errors import BridgeError, Busy, ConnectionClosed, PeerGone, PeerUnavailable
from .exposed import Exposable, Exposed

logger: Final = logging.getLogger("shm_protocol")

DEFAULT_MAX_CONNECTIONS: Final = 8
BACKOFF_FIRST_S: Final = 0.01
BACKOFF_MOST_S: Final = 0.5


def connect(
    path: str | os.PathLike[str] | None = None,
    *,
    transport: str | None = None,
    name: str | None = None,
    timeout: float = handshake.TIMEOUT_S,
    expose: Exposable | None = None,
    max_message: int | None = None,
    ring_capacity: int | None = None,
    max_connections: int = DEFAULT_MAX_CONNECTIONS,
) -> Client:
    """Connect to the Node side. One connection is made at once, so that it is told at once if nobody listens.

    path: the acceptor's socket, else $SHM_POLYGLOT_DIR/node.sock. transport: "auto", "shm" or "socket", else
    $SHM_POLYGLOT_TRANSPORT. name: for the peer's logs. timeout: seconds for each connect and handshake.
    expose: what the peer may call while this side waits for an answer. max_message: bytes. ring_capacity: bytes, a
    power of two. max_connections: how many calls may be under way at once, from as many threads.

    Raises PeerUnavailable, VersionMismatch, ProtocolError, Busy, and ConfigError for a setting that cannot be.
    """
    if type(max_connections) is not int or max_connections < 1:
        raise config.ConfigError(f"max_connections={max_connections!r}: must be an int of at least 1")
    settings = config.load(path, transport=transport, ring_capacity=ring_capacity, max_message=max_message)
    client = Client(settings, Exposed(expose), name=name, timeout=timeout, max_connections=max_connections)
    client.dial_first()
    return client


def attach(
    path: str | os.PathLike[str] | None = None,
    *,
    expose: Exposable,
    transport: str | None = None,
    name: str | None = None,
    timeout: float = handshake.TIMEOUT_S,
    max_message: int | None = None,
    ring_capacity: int | None = None,
) -> Connection:
    """Connect as a worker: the Node side may call what is exposed at any time. For an event loop; see serve().

    The caller runs the connection: serve(), or poll(), serve_ready() and fileno(). It belongs to the thread that
    called. Arguments and errors as connect().
    """
    settings = config.load(path, transport=transport, ring_capacity=ring_capacity, max_message=max_message)
    return dial(settings, role="worker", exposed=Exposed(expose), name=name, timeout=timeout)


def serve(
    path: str | os.PathLike[str] | None = None,
    *,
    expose: Exposable,
    transport: str | None = None,
    name: str | None = None,
    timeout: float = handshake.TIMEOUT_S,
    max_message: int | None = None,
    ring_capacity: int | None = None,
) -> None:
    """Be a worker until Ctrl-C, then return. Where nobody listens, or the peer goes, dial again after a while.

    Arguments as connect(). Raises VersionMismatch, ProtocolError when something else listens there, and ConfigError.
    """
    settings = config.load(path, transport=transport, ring_capacity=ring_capacity, max_message=max_message)
    exposed = Exposed(expose)
    backoff = Backoff()
    complaint = ""
    try:
        while True:
            try:
                with dial(settings, role="worker", exposed=exposed, name=name, timeout=timeout) as connection:
                    backoff.reset()
                    complaint = ""
                    connection.serve()
            except (PeerUnavailable, PeerGone, Busy) as error:
                # Once, not at every attempt.
                if str(error) != complaint:
                    complaint = str(error)
                    logger.warning("%s; dialing again until it succeeds", complaint)
                sleep(backoff.next())
    except KeyboardInterrupt:
        logger.info("interrupted: the worker ends")


class Backoff:
    """Pauses between attempts: 10 ms, doubling to 0.5 s, each shortened at random by up to half, so that many do not
    come at once.
    """

    def __init__(self) -> None:
        self._pause = BACKOFF_FIRST_S

    def next(self) -> float:
        """Seconds until the next attempt."""
        pause = self._pause
        self._pause = min(BACKOFF_MOST_S, pause * 2)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  # not for secrets

    def reset(self) -> None:
        """An attempt has succeeded."""
        self._pause = BACKOFF_FIRST_S


class ConnectionInfo(NamedTuple):
    """One connection of a client. in_use: a call is under way on it."""

    transport: str
    peer: Peer
    in_use: bool


class Client:
    """Calls the Node side, from any thread. Made by connect().

    Each call under way has a connection of its own, at most `max_connections`; a thread that finds all of them in use
    waits, up to its timeout, and then gets Busy. A connection that breaks fails the call that was on it and is
    replaced by the next call. A call that may have been sent is never sent again.

    Dialing: a call that needs a new connection dials once. If that fails it raises PeerUnavailable at once, and so do
    the calls of the next 10 ms, without dialing; after each further failure for twice as long, up to 0.5 s.

    After a fork the child dials connections of its own.
    """

    def __init__(
        self, settings: Settings, exposed: Exposed, *, name: str | None, timeout: float, max_connections: int
    ) -> None:
        self._settings = settings
        self._exposed = exposed
        self._name = name
        self._dial_timeout = timeout
        self._max_connections = max_connections
        self._closed = False
        self._reset_pool()
        forks.register(self)

    def call(
        self, method: str, *args: Any, timeout: float | None = DEFAULT_TIMEOUT_S, traceparent: str | None = None
    ) -> Any:
        """Call an exposed function of the peer and wait for what it returns. See Connection.call.

        Raises, beside what that raises, PeerUnavailable and Busy. Made while serving a call of the same peer, it goes
        back on the connection that call came by.
        """
        # As current_call tells, without making a CurrentCall where there is none.
        if being_served.get() is not None:
            current = current_call()
            if current is not None and self._leads_to(current):
                return current.connection.call_with(method, args, timeout, traceparent)
        try:
            # Atomic, so the usual case needs no lock.
            connection = self._idle.pop()
        except IndexError:
            connection = self._lease(method, timeout)
        connection.owner = get_ident()
        try:
            return connection.call_with(method, args, timeout, traceparent)
        except StaleConnection:
            # Nothing was sent: to dial again and send is safe. Other idle ones may be stale too; each is tried once.
            pass
        finally:
            self._release(connection)
        return self.call(method, *args, timeout=timeout, traceparent=traceparent)

    def stream(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        credit: int = DEFAULT_CREDIT,
        traceparent: str | None = None,
    ) -> ClientStream | Stream:
        """Call a function of the peer that gives an iterator, and iterate over what it gives. See Connection.stream.

        The stream keeps a connection for itself until it has been read to its end or closed.
        """
        current = current_call()
        if current is not None and self._leads_to(current):
            return current.connection.stream_with(method, args, timeout, credit, traceparent)
        while True:
            connection = self._lease(method, DEFAULT_TIMEOUT_S if timeout is None else timeout)
            try:
                return ClientStream(
                    self, connection, connection.stream_with(method, args, timeout, credit, traceparent)
                )
            except StaleConnection:
                self._release(connection)
            except BaseException:
                self._release(connection)
                raise

    def notify(self, method: str, *args: Any, traceparent: str | None = None) -> None:
        """Call a function of the peer without wanting to know what becomes of it. See Connection.notify."""
        current = current_call()
        if current is not None and self._leads_to(current):
            current.connection.notify_with(method, args, traceparent)
            return
        while True:
            connection = self._lease(method, DEFAULT_TIMEOUT_S)
            try:
                connection.notify_with(method, args, traceparent)
                return
            except StaleConnection:
                continue
            finally:
                self._release(connection)

    def expose(self, functions: Exposable) -> None:
        """Let the peer call more functions, while this side waits. Raises TypeError and ValueError, see Exposed.add."""
        self._exposed.add(functions)

    def close(self) -> None:
        """End all connections. Calls under way in other threads fail with ConnectionClosed. Safe to call twice."""
        with self._changed:
            self._closed = True
            idle: list[Connection] = []
            # One by one: a call in another thread takes from the same list without the lock.
            with suppress(IndexError):
                while True:
                    idle.append(self._idle.pop())
            in_use = [connection for connection in self._connections if connection not in idle]
            self._connections.clear()
            self._changed.notify_all()
        for connection in idle:
            connection.owner = get_ident()
            connection.close()
        for connection in in_use:
            connection.interrupt()

    @property
    def transport(self) -> str:
        """What the newest connection uses, "shm" or "socket"; before there is one, what was asked for."""
        return self._last_transport

    @property
    def connections(self) -> Sequence[ConnectionInfo]:
        """The connections there are now."""
        with self._changed:
            idle = set(map(id, self._idle))
            return [ConnectionInfo(c.transport, c.peer, id(c) not in idle) for c in self._connections]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._connections)} connections"
        return f"<Client of {self._settings.path}, {state}>"

    def after_fork_in_child(self) -> None:
        """See forks.py. The connections take care of themselves."""
        self._reset_pool()

    def dial_first(self) -> None:
        """Make the first connection. Raises what dial raises."""
        with self._changed:
            self._dialing += 1
        self._release(self._dial("connect"))

    def _reset_pool(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[Connection] = []
        self._connections: list[Connection] = []
        self._dialing = 0
        self._waiting = 0
        self._backoff = Backoff()
        self._failed_until = 0.0
        self._last_failure: BridgeError | None = None
        self._last_transport: str = self._settings.transport

    def _leads_to(self, current: CurrentCall) -> bool:
        """Whether a call made while serving `current` goes back on its connection: its peer is ours, and it is this
        thread's.
        """
        connection = current.connection
        return connection.path == self._settings.path and connection.owner == get_ident() and not connection.closed

    def _lease(self, method: str, timeout: float | None) -> Connection:
        """A connection for this thread alone. Raises PeerUnavailable, Busy and ConnectionClosed."""
        deadline = None if timeout is None else monotonic() + timeout
        with self._changed:
            while True:
                if self._closed:
                    raise ConnectionClosed(f"{method}: the client has been closed")
                # Before looking: whoever gives one back either sees this thread wait or is seen.
                self._waiting += 1
                try:
                    if self._idle:
                        connection = self._idle.pop()
                        connection.owner = get_ident()
                        return connection
                    if len(self._connections) + self._dialing < self._max_connections:
                        self._dialing += 1
                        break
                    left = None if deadline is None else deadline - monotonic()
                    if left is not None and left <= 0:
                        raise Busy(f"{method}: all {self._max_connections} connections were in use for {timeout:g} s")
                    self._changed.wait(left)
                finally:
                    self._waiting -= 1
        return self._dial(method)

    def _dial(self, method: str) -> Connection:
        """A new connection. `_dialing` counts it already."""
        try:
            failure = self._last_failure
            if failure is not None and monotonic() < self._failed_until:
                raise type(failure)(f"{method}: {failure} (tried a moment ago)")
            try:
                connection = dial(
                    self._settings, role="client", exposed=self._exposed, name=self._name, timeout=self._dial_timeout
                )
            except BridgeError as error:
                self._last_failure = error
                self._failed_until = monotonic() + self._backoff.next()
                raise
        except BaseException:
            with self._changed:
                self._dialing -= 1
                self._changed.notify()
            raise
        with self._changed:
            self._dialing -= 1
            self._last_failure = None
            self._backoff.reset()
            self._last_transport = connection.transport
            if not self._closed:
                self._connections.append(connection)
                return connection
        connection.close()
        raise ConnectionClosed(f"{method}: the client has been closed")

    def _release(self, connection: Connection) -> None:
        if self._closed or connection.closed:
            self._discard(connection)
            return
        self._idle.append(connection)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def _discard(self, connection: Connection) -> None:
        with self._changed:
            if connection in self._connections:
                self._connections.remove(connection)
            self._changed.notify()
        if not connection.closed:
            connection.close()


class ClientStream(Iterator[Any]):
    """A stream that keeps a connection of the client's for itself. See Stream."""

    def __init__(self, client: Client, connection: Connection, stream: Stream) -> None:
        self._client = client
        self._connection: Connection | None = connection
        self._stream = stream

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        connection = self._connection
        if connection is None:
            raise StopIteration
        # Nobody else uses it, so a stream may move from thread to thread.
        connection.owner = get_ident()
        try:
            return next(self._stream)
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        """Want no more. The peer is told, and its iterator closed. Safe to call twice."""
        if self._connection is not None:
            self._connection.owner = get_ident()
            try:
                self._stream.close()
            finally:
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # In whatever thread the collector runs: too late to tell the peer about the stream, so the connection ends.
        if self._connection is not None:
            self._connection.interrupt()
            self._client._discard(self._connection)
            self._connection = None

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client._release(connection)
