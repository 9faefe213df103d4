"""What programs use: connect() for a client that threads may share, attach() for a worker with a loop of its own."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import get_ident
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from weakref import ref

from . import config, dialing, forks, handshake, options
from .backoff import WAITING_MOST_S, Backoff
from .config import Settings
from .connection import Connection, StaleConnection
from .current_call import CurrentCall, being_served, current_call, served_here
from .decorated import exposables_of
from .dialing import dial
from .direct_calls import compile_call
from .errors import BridgeError, Busy, ConnectionClosed, PeerUnavailable
from .exposables import Exposables
from .exposed import Exposed
from .handshake import Peer
from .options import DEFAULT_CREDIT, DEFAULT_TIMEOUT_S
from .pooled_references import Keeping, PooledCaller
from .session import ended_for
from .streams import Stream

DEFAULT_MAX_CONNECTIONS: Final = 8


def connect(
    path: str | os.PathLike[str] | None = None,
    *,
    transport: str | None = None,
    name: str | None = None,
    timeout: float = handshake.HANDSHAKE_TIMEOUT_S,
    expose: Exposables | None = None,
    max_message: int | None = None,
    ring_capacity: int | None = None,
    max_connections: int = DEFAULT_MAX_CONNECTIONS,
    serve_unrelated: bool = False,
    lazy: bool = False,
    wait: float | None = None,
) -> Client:
    """Connect to the Node side. One connection is made at once, so that it is told at once if nobody listens.

    path: the acceptor's socket, else $SHM_POLYGLOT_DIR/node.sock. transport: "auto", "shm" or "socket", else
    $SHM_POLYGLOT_TRANSPORT. name: for the peer's logs, 1 to 128 characters, else the program's. timeout: seconds for
    each connect and handshake. expose: what the peer may call while it serves a call of this side's. max_message:
    bytes. ring_capacity: bytes, a power of two. max_connections: how many calls may be under way at once, from as many
    threads.

    serve_unrelated: also serve, while a call waits, calls that have nothing to do with it: inside the function that
    waits, on its stack and with its locks held. A plain threading.Lock held across a call deadlocks then when such a
    call takes it too, and one that is slow delays the answer waited for. Without it a client answers them with Busy.

    lazy: make no connection now. The first call does, and raises what this function would have raised; where it fails,
    the next call tries again. wait: seconds to wait, if need be, for a Node side that is still starting, until there is
    a first connection: while there is no socket, or nobody listens on it, and no longer than the call lasts that makes
    the connection. A Node side that refuses is not waited for.

    Raises PeerUnavailable, VersionMismatch, ProtocolError, Busy; ConfigError for a setting that cannot be, TypeError
    for one of another type.
    """
    if type(max_connections) is not int:
        raise TypeError(f"max_connections={options.shown(max_connections)}: must be an integer of at least 1")
    if max_connections < 1:
        raise config.ConfigError(f"max_connections={options.shown(max_connections)}: must be an integer of at least 1")
    options.check_flag("serve_unrelated", serve_unrelated)
    options.check_flag("lazy", lazy)
    # Now, and not when somebody calls.
    dialing.checked_options(name, timeout)
    settings = config.read_settings(path, transport=transport, ring_capacity=ring_capacity, max_message=max_message)
    client = Client(
        settings,
        Exposed(expose),
        name=name,
        timeout=timeout,
        max_connections=max_connections,
        serve_unrelated=serve_unrelated,
        wait=dialing.checked_wait(wait),
    )
    if not lazy:
        client.dial_first()
    return client


def attach(
    path: str | os.PathLike[str] | None = None,
    *,
    expose: Exposables | None = None,
    transport: str | None = None,
    name: str | None = None,
    timeout: float = handshake.HANDSHAKE_TIMEOUT_S,
    max_message: int | None = None,
    ring_capacity: int | None = None,
    serve_unrelated: bool = False,
) -> Connection:
    """Connect as a worker: the Node side may call what is exposed at any time. For an event loop; see Worker.

    The caller runs the connection: serve(), or poll(), serve_ready() and fileno(). It belongs to the thread that
    called. Each call runs in an empty context, as in a new thread; one that is made for a call of ours that waits, in a
    copy of that one's context. Arguments and errors as connect(); without serve_unrelated, calls that arrive while a
    function waits for one of its own wait their turn. TypeError for a coroutine function, which needs connect_async().

    expose: what Node may call, by default what has been decorated with @shm_protocol.expose.
    """
    options.check_flag("serve_unrelated", serve_unrelated)
    settings = config.read_settings(path, transport=transport, ring_capacity=ring_capacity, max_message=max_message)
    exposed = Exposed(exposables_of(expose))
    return dial(settings, role="worker", exposed=exposed, name=name, timeout=timeout, serve_unrelated=serve_unrelated)


class ConnectionInfo(NamedTuple):
    """One connection of a client.

    transport: "shm" or "socket". peer: what the other side said of itself. in_use: whether a call is under way on it.
    """

    transport: str
    peer: Peer
    in_use: bool


class Client:
    """Calls the Node side, from any thread. Made by connect().

    Each call under way has a connection of its own, at most `max_connections`; a thread that finds all of them in use
    waits, up to its timeout, and then gets Busy. A connection that breaks fails the call that was on it and is
    replaced by the next call. A call that may have been sent is never sent again.

    Dialing: a call that needs a new connection dials once. If that fails it raises PeerUnavailable at once, and so do
    the calls of the next 10 ms, without dialing; after each further failure for twice as long, up to 0.5 s. Until there
    is a first connection it may wait for a listener: see connect's `wait`.

    After a fork the child dials connections of its own.
    """

    def __init__(
        self,
        settings: Settings,
        exposed: Exposed,
        *,
        name: str | None,
        timeout: float,
        max_connections: int,
        serve_unrelated: bool = False,
        wait: float | None = None,
    ) -> None:
        self._serve_unrelated = serve_unrelated
        self._wait = wait  # None: or there has been a connection
        self._settings = settings
        self._exposed = exposed
        self._name = name
        self._dial_timeout = timeout
        self._max_connections = max_connections
        self._closed = False
        self._reset_pool()
        forks.register(self)

    def call(
        self,
        method: str,
        *args: Any,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call an exposed function of the peer and wait for what it returns. See Connection.call.

        Raises, beside what that raises, PeerUnavailable and Busy. Made while serving a call of the same peer, it goes
        back on the connection that call came by.
        """
        given = keywords if kwargs is None else options.keywords_of(kwargs, keywords)
        # As current_call tells, without making a CurrentCall where there is none.
        if being_served.get() is not None:
            current = current_call()
            if current is not None and self._leads_to(current):
                return current.connection.call_with(method, args, timeout, traceparent, given)
        connection: Connection | None
        try:
            # Atomic, so the usual case needs no lock.
            connection = self._idle.pop()
        except IndexError:
            connection = None
        if connection is None:
            # Not in the handler above: what it raises has nothing to do with an empty list.
            connection = self._lease(method, timeout)
        connection.owner = get_ident()
        try:
            return connection.call_with(method, args, timeout, traceparent, given)
        except StaleConnection:
            # Nothing was sent: to dial again and send is safe. Other idle ones may be stale too; each is tried once.
            pass
        finally:
            self.release(connection)
        return self.call(method, *args, timeout=timeout, traceparent=traceparent, kwargs=given)

    def call_with(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
        *,
        handles: bool = False,
    ) -> Any:
        """See Connection.call_with."""
        current = current_call()
        if current is not None and self._leads_to(current):
            return current.connection.call_with(method, args, timeout, traceparent, keywords, handles=handles)
        while True:
            connection = self._lease(method, timeout)
            try:
                return connection.call_with(method, args, timeout, traceparent, keywords, handles=handles)
            except StaleConnection:
                continue
            finally:
                self.release(connection)

    def stream(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        credit: int = DEFAULT_CREDIT,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> ClientStream | Stream:
        """Call a function of the peer that gives an iterator, and iterate over what it gives. See Connection.stream.

        The stream keeps a connection for itself until it has been read to its end or closed.
        """
        return self.stream_with(method, args, timeout, credit, traceparent, options.keywords_of(kwargs, keywords))

    def stream_with(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,
        credit: int,
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
        *,
        handles: bool = False,
    ) -> ClientStream | Stream:
        """See Connection.stream_with."""
        current = current_call()
        if current is not None and self._leads_to(current):
            return current.connection.stream_with(method, args, timeout, credit, traceparent, keywords, handles=handles)
        while True:
            connection = self._lease(method, DEFAULT_TIMEOUT_S if timeout is None else timeout)
            try:
                stream = connection.stream_with(method, args, timeout, credit, traceparent, keywords, handles=handles)
                return self._keep(connection, stream)
            except StaleConnection:
                self.release(connection)
            except BaseException:
                self.release(connection)
                raise

    def notify(
        self,
        method: str,
        *args: Any,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        """Call a function of the peer without wanting to know what becomes of it. See Connection.notify."""
        given = options.keywords_of(kwargs, keywords)
        current = current_call()
        if current is not None and self._leads_to(current):
            current.connection.notify_with(method, args, traceparent, given)
            return
        while True:
            connection = self._lease(method, DEFAULT_TIMEOUT_S)
            try:
                connection.notify_with(method, args, traceparent, given)
                return
            except StaleConnection:
                continue
            finally:
                self.release(connection)

    def expose(self, functions: Exposables) -> None:
        """Let the peer call more functions while a call of this side's waits, all of these or none.

        Raises TypeError for what cannot be exposed, ValueError for a name that is taken, too long or private.
        """
        self._exposed.add(functions)

    def close(self) -> None:
        """End all connections. Calls under way in other threads fail with ConnectionClosed. Safe to call twice."""
        with self._changed:
            self._closed = True
            idle = self._take_idle()
            in_use = [connection for connection in self._connections if connection not in idle]
            self._connections.clear()
            self._changed.notify_all()
        for connection in idle:
            connection.owner = get_ident()
            connection.close()
        for connection in in_use:
            connection.interrupt()

    def close_idle(self) -> None:
        """End the connections on which no call is under way: the peer has ended."""
        for connection in self._take_idle():
            connection.owner = get_ident()
            self.discard(connection)

    @property
    def path(self) -> Path:
        """The socket that it connects to."""
        return self._settings.path

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
        self.release(self._dial("connect", math.inf))

    def _take_idle(self) -> list[Connection]:
        idle: list[Connection] = []
        # One by one: a call in another thread takes from the same list without the lock.
        with suppress(IndexError):
            while True:
                idle.append(self._idle.pop())
        return idle

    # What a connection has lent: see pooled_references.py.

    @contextmanager
    def leased(self, connection: Connection, method: str, timeout: float | None) -> Iterator[None]:
        """For this thread alone, or between the items of the streams that keep it. Raises Busy."""
        if self.is_mine(connection):
            yield
            return
        keeping = self._wait_for(connection, method, timeout)
        connection.owner = get_ident()
        try:
            yield
        finally:
            if keeping is None:
                if id(connection) not in self._kept:
                    self.release(connection)
            else:
                self.end_turn(connection, keeping)

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
    ) -> ClientStream | Stream:
        """A stream of what that has lent, by whoever has leased it."""
        stream = connection.stream_reference(method, args, kwargs, timeout, credit, handles=handles)
        return stream if self.is_mine(connection) else self._keep(connection, stream)

    def is_mine(self, connection: Connection) -> bool:
        """Whether this thread serves a call that came by it."""
        served = served_here()
        return served is not None and served[0] is connection

    def take(self, connection: Connection) -> bool:
        """Lease it if nobody uses it."""
        try:
            # Atomic, as in call.
            self._idle.remove(connection)
        except ValueError:
            return False
        connection.owner = get_ident()
        return True

    def stirred(self) -> None:
        """Somebody may wait for the connection of a stream whose item has been taken."""
        if self._waiting:
            with self._changed:
                self._changed.notify_all()

    def _wait_for(self, connection: Connection, method: str, timeout: float | None) -> Keeping | None:
        """Until it is idle, and take it; or until none of the streams that keep it is being read: these."""
        deadline = monotonic() + options.seconds_of(timeout)
        with self._changed:
            self._waiting += 1
            self._waiting_for_one += 1
            try:
                while not connection.closed:
                    if self.take(connection):
                        return None
                    keeping = self._kept.get(id(connection))
                    if keeping is not None and keeping.turn.acquire(blocking=False):
                        # Unless its last stream has ended in between: then the connection is idle, or another's.
                        if self._kept.get(id(connection)) is keeping:
                            return keeping
                        keeping.turn.release()
                        continue
                    left = None if deadline == math.inf else deadline - monotonic()
                    if left is not None and left <= 0:
                        raise Busy(f"{method}: the connection that it came by was in use for {timeout:g} s")
                    self._changed.wait(left)
            finally:
                self._waiting -= 1
                self._waiting_for_one -= 1
        assert connection.link.ended is not None
        raise ended_for(method, connection.link.ended)

    def _keep(self, connection: Connection, stream: Stream) -> ClientStream:
        keeping = self._kept.setdefault(id(connection), Keeping())
        keeping.streams += 1
        return ClientStream(self, connection, stream, keeping)

    def end_turn(self, connection: Connection, keeping: Keeping) -> None:
        """Let another have it; the connection is given back, unless there are streams that keep it."""
        while True:
            if keeping.dropped:
                keeping.close_dropped()
            # Within the turn: nobody is to get the connection by both ways.
            is_over = not keeping.streams
            if is_over:
                self._kept.pop(id(connection), None)
            keeping.turn.release()
            if is_over:
                self.release(connection)
                return
            # Whoever dropped one just now had no turn.
            if not keeping.dropped or not keeping.turn.acquire(blocking=False):
                break
            connection.owner = get_ident()
        self.stirred()

    def _reset_pool(self) -> None:
        self._changed = threading.Condition()
        self._kept: dict[int, Keeping] = {}
        self._waiting_for_one = 0
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
        # Before anything is dialed for it.
        options.check_method(method)
        deadline = monotonic() + options.seconds_of(timeout)
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
                    left = None if deadline == math.inf else deadline - monotonic()
                    if left is not None and left <= 0:
                        raise Busy(f"{method}: all {self._max_connections} connections were in use for {timeout:g} s")
                    self._changed.wait(left)
                finally:
                    self._waiting -= 1
        return self._dial(method, deadline)

    def _dial(self, method: str, deadline: float) -> Connection:
        """A new connection. `_dialing` counts it already. deadline: of time.monotonic(), to wait for a listener."""
        try:
            failure, wait = self._last_failure, self._wait
            if failure is not None and wait is None and monotonic() < self._failed_until:
                raise type(failure)(f"{method}: {failure} (tried a moment ago)")
            try:
                connection = self._dial_once() if wait is None else self._wait_for_listener(method, wait, deadline)
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
            self._wait = None
            self._backoff.reset()
            self._last_transport = connection.transport
            connection.lend_through(partial(_caller, ref(self), ref(connection)))
            if not self._closed:
                self._connections.append(connection)
                return connection
        connection.close()
        raise ConnectionClosed(f"{method}: the client has been closed")

    def _dial_once(self) -> Connection:
        return dial(
            self._settings,
            role="client",
            exposed=self._exposed,
            name=self._name,
            timeout=self._dial_timeout,
            serve_unrelated=self._serve_unrelated,
        )

    def _wait_for_listener(self, method: str, seconds: float, deadline: float) -> Connection:
        began = monotonic()
        until = min(began + seconds, deadline)
        backoff = Backoff(WAITING_MOST_S)
        while True:
            try:
                return self._dial_once()
            except PeerUnavailable as error:
                if not dialing.nobody_listens(error):
                    raise
                left = until - monotonic()
                if left <= 0:
                    raise dialing.waited_in_vain(error, max(0.0, until - began)) from error
            sleep(min(backoff.next(), left))
            if self._closed:
                raise ConnectionClosed(f"{method}: the client has been closed")

    def release(self, connection: Connection) -> None:
        """Give a connection back."""
        # As connection.closed tells, without the call of a property.
        if self._closed or connection.link.ended is not None:
            self.discard(connection)
            return
        self._idle.append(connection)
        if self._waiting:
            with self._changed:
                self._tell_one()

    def _tell_one(self) -> None:
        # One of those who take any connection; but the one may wait for another than this.
        if self._waiting_for_one:
            self._changed.notify_all()
        else:
            self._changed.notify()

    def discard(self, connection: Connection) -> None:
        """Do without a connection, and close it."""
        with self._changed:
            if connection in self._connections:
                self._connections.remove(connection)
            self._tell_one()
        if not connection.closed:
            connection.close()


compile_call(Client, being_served, StaleConnection, DEFAULT_TIMEOUT_S)


def _caller(client: ref[Client], connection: ref[Connection]) -> PooledCaller | None:
    """What is called through both keeps both."""
    alive, of = client(), connection()
    return None if alive is None or of is None else PooledCaller(alive, of)


class ClientStream(Iterator[Any]):
    """A stream that keeps a connection of the client's for itself. See Stream."""

    def __init__(self, client: Client, connection: Connection, stream: Stream, keeping: Keeping) -> None:
        self._client = client
        self._keeping = keeping
        self._connection: Connection | None = connection
        self._stream = stream

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        connection = self._connection
        if connection is None:
            raise StopIteration
        self._keeping.turn.acquire()
        try:
            # Nobody else uses it now, so a stream may move from thread to thread.
            connection.owner = get_ident()
            return next(self._stream)
        except BaseException:
            self._connection = None
            self._keeping.streams -= 1
            raise
        finally:
            self._client.end_turn(connection, self._keeping)

    def close(self) -> None:
        """Want no more. The peer is told, and its iterator closed. Safe to call twice."""
        connection = self._connection
        if connection is not None:
            self._keeping.turn.acquire()
            self._close(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # As at the end of a loop that is left early: in this thread, or in whatever the collector runs in, which may be
        # one that has the turn.
        connection = self._connection
        if connection is None:
            return
        if self._keeping.turn.acquire(blocking=False):
            # Where the connection has ended, so has the stream.
            with suppress(BridgeError):
                self._close(connection)
        else:
            self._keeping.dropped.append(self._stream)

    def _close(self, connection: Connection) -> None:
        """By whoever has the turn, which ends."""
        connection.owner = get_ident()
        try:
            # Another thread may have been first.
            if self._connection is not None:
                self._connection = None
                self._keeping.streams -= 1
                self._stream.close()
        finally:
            self._client.end_turn(connection, self._keeping)
