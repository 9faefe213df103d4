"""What asyncio programs use: connect_async() for a client of one event loop, with many calls under way at once."""

from __future__ import annotations

import asyncio
import functools
import math
import os
from asyncio import sleep
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import copy_context
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import Any, Final, NoReturn, Self, get_args
from weakref import ref

from . import config, decorated, dialing, handshake, options
from .backoff import WAITING_MOST_S, Backoff
from .calls import PendingCall
from .config import Settings
from .connection_asyncio import LoopConnection
from .dialing import dial_as
from .errors import BridgeError, CallTimeout, ConnectionClosed, PeerUnavailable
from .exposables import Exposables
from .exposed import Exposed
from .handshake import Peer, Role
from .options import DEFAULT_CREDIT, DEFAULT_TIMEOUT_S
from .tracing import Tracing, tracing_in_use


async def connect_async(
    path: str | os.PathLike[str] | None = None,
    *,
    transport: str | None = None,
    name: str | None = None,
    timeout: float = handshake.HANDSHAKE_TIMEOUT_S,  # noqa: ASYNC109  # of the handshake, kept by the thread
    expose: Exposables | None = None,
    max_message: int | None = None,
    ring_capacity: int | None = None,
    role: Role = "client",
    lazy: bool = False,
    wait: float | None = None,
) -> AsyncClient:
    """Connect the running event loop to the Node side. The dial itself runs in a thread of the loop's executor.

    expose: what the peer may call while the client is connected; coroutine functions and asynchronous generators too.
    By default a worker exposes what has been decorated with @shm_protocol.expose, and a client nothing.
    role: as a "worker" this side may get any call that Node makes, as a "client" those that Node makes while serving
    this side's calls. lazy, wait: as connect(); a worker cannot be lazy, because it is Node that calls it. The other
    arguments, and the errors, are those of connect().

    A function that is awaited runs beside all others; one that is not runs in the loop. Each call has a copy of the
    context in which this was called, and nothing of another call's. KeyboardInterrupt, and SystemExit raised by a
    function itself, are told to the caller and then end the loop, as asyncio has it: asyncio.run() raises them.
    """
    if role not in get_args(Role):
        raise TypeError(f"role={options.shown(role)}: must be 'client' or 'worker'")
    options.check_flag("lazy", lazy)
    if lazy and role == "worker":
        raise config.ConfigError("lazy=True: must be False with role='worker', which Node calls once it is connected")
    dialing.checked_options(name, timeout)
    seconds = dialing.checked_wait(wait)
    settings = config.read_settings(path, transport=transport, ring_capacity=ring_capacity, max_message=max_message)
    if expose is None and role == "worker":
        expose = decorated.functions()
    exposed = Exposed(expose, has_loop=True)
    dial = functools.partial(dial_as, LoopConnection, settings, role=role, exposed=exposed, name=name, timeout=timeout)
    if lazy:
        return _LazyClient(functools.partial(_dial, dial, seconds), exposed, settings)
    return AsyncClient(await _dial(dial, seconds), exposed)


async def _dial(dial: Callable[[], LoopConnection], wait: float | None) -> LoopConnection:
    """A connection. wait: seconds for a listener to come up."""
    if wait is None:
        return await _dial_once(dial)
    clock = asyncio.get_running_loop().time
    until = clock() + wait
    backoff = Backoff(WAITING_MOST_S)
    while True:
        try:
            return await _dial_once(dial)
        except PeerUnavailable as error:
            if not dialing.nobody_listens(error):
                raise
            left = until - clock()
            if left <= 0:
                raise dialing.waited_in_vain(error, wait) from error
        await sleep(min(backoff.next(), left))


async def _dial_once(dial: Callable[[], LoopConnection]) -> LoopConnection:
    attempt = asyncio.get_running_loop().run_in_executor(None, dial)
    try:
        # A thread cannot be cancelled: it goes on until the handshake's timeout at most.
        connection = await asyncio.shield(attempt)
    except asyncio.CancelledError:
        attempt.add_done_callback(_discard)
        raise
    connection.start()
    return connection


def _discard(dialing: asyncio.Future[LoopConnection]) -> None:
    """Nobody waits for the connection any more, nor for the error."""
    if not dialing.cancelled() and dialing.exception() is None:
        dialing.result().interrupt()


class AsyncClient:
    """Calls the Node side from one event loop, over one connection. Made by connect_async().

    Up to 1024 calls may be under way at once; their answers come in any order. While one is awaited the loop goes on.
    When the peer goes, every call under way fails with PeerGone and the client has ended: connect another.

    Its methods raise ConnectionClosed after the end and in a forked child, and RuntimeError in any other loop than the
    one that it was made in. It does not wait in C: nothing but an exposed function can hold the loop up.
    """

    def __init__(self, connection: LoopConnection, exposed: Exposed) -> None:
        self._connection = connection
        self._exposed = exposed
        self._loop = asyncio.get_running_loop()
        _lend_through(connection, exposed)

    async def call(
        self,
        method: str,
        *args: Any,
        timeout: float | None = DEFAULT_TIMEOUT_S,  # noqa: ASYNC109  # sent to the peer, as the other clients do
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any:
        """Call an exposed function of the peer and await what it returns.

        timeout: seconds, or None for no limit. traceparent: W3C trace context. kwargs: keyword arguments, as
        Connection.call takes them. Awaited in a function that serves a call of this client's, it waits no longer than
        that one's caller does, and hands its trace context on.

        A task that is cancelled meanwhile tells the peer that it need not go on.

        Raises RemoteError when the function raised; CallTimeout, UnknownMethod, Busy, CallTooDeep, EncodeError,
        MessageTooLarge; PeerGone when the peer goes before the answer, and ConnectionClosed when the client is closed.
        """
        return await self.call_with(method, args, timeout, traceparent, options.keywords_of(kwargs, keywords))

    async def call_with(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,  # noqa: ASYNC109  # as in call
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
        *,
        handles: bool = False,
    ) -> Any:
        """See Connection.call_with."""
        tracing = self._tracing
        if tracing is None or traceparent is not None:
            return await self._call(method, args, timeout, traceparent, keywords or {}, handles=handles)
        with tracing.start_call(method) as span:
            return await self._call(method, args, timeout, span.traceparent, keywords or {}, handles=handles)

    async def _call(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,  # noqa: ASYNC109  # as in call
        traceparent: str | None,
        keywords: dict[str, Any],
        *,
        handles: bool,
    ) -> Any:
        began = monotonic()
        call, deadline, seconds = await self._begin(method, args, timeout, traceparent, keywords, handles=handles)
        try:
            while not call.done:
                if self._loop.time() >= deadline:
                    raise CallTimeout(f"{method}: no answer within {seconds:g} s")
                await self._connection.wait_for(call, deadline)
        finally:
            self._connection.count_call(call, began)
            self._connection.give_up(call)
        if call.error is not None:
            raise call.error
        return call.result

    def stream(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        credit: int = DEFAULT_CREDIT,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> AsyncGenerator[Any, None]:
        """Call a function of the peer that gives an iterator, and iterate over what it gives with `async for`.

        The call is made when the first item is asked for. timeout: seconds for the whole stream from then on, or None.
        credit: how many items the peer may send ahead. Use contextlib.aclosing() where it may not be read to its end.

        Iterating raises what call raises, and TypeError if the function gives no stream.
        """
        given = options.keywords_of(kwargs, keywords)
        return self.stream_with(method, args, timeout, credit, traceparent, given)

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
    ) -> AsyncGenerator[Any, None]:
        """See Connection.stream_with."""
        options.check_credit(credit)
        return self._iterate(method, args, timeout, credit, traceparent, keywords or {}, handles=handles)

    async def notify(
        self,
        method: str,
        *args: Any,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        """Call a function of the peer without wanting to know what becomes of it: no answer, no error.

        Awaits room if the ring is full, at most the default timeout; then CallTimeout. Raises EncodeError,
        MessageTooLarge, CallTooDeep and what any method may raise.
        """
        connection = self._connection
        connection.require_usable(method)
        meta, _ = connection.make_meta(method, None, traceparent, options.keywords_of(kwargs, keywords))
        deadline = self._loop.time() + DEFAULT_TIMEOUT_S
        await self._wait_for_room(method, deadline)
        connection.send_notification(method, args, meta)
        if not await connection.wait_for_room(method, deadline):
            raise CallTimeout(
                f"{method}: there was no room for all of it in {DEFAULT_TIMEOUT_S:g} s; it may arrive yet"
            )

    def expose(self, functions: Exposables) -> None:
        """Let the peer call more functions, all of these or none.

        Raises TypeError for what cannot be exposed, ValueError for a name that is taken, too long or private.
        """
        self._exposed.add(functions)

    def exchange(self, functions: Mapping[str, Callable[..., Any]], gone: Iterable[str]) -> None:
        """For the library only: other functions by the same full names, and names that are exposed no more."""
        self._exposed.insert(functions)
        self._exposed.remove(gone)

    async def leave(self, timeout: float) -> None:  # noqa: ASYNC109  # of what is served, which goes on
        """Have Node make no new calls to this client, and serve those it had made before it knew. Close it afterwards:
        a worker that is replaced fails no call so.

        timeout: seconds; CallTimeout when there is still something to serve then. A function that this client serves
        waits in vain for its own end: let a task of the program's do it. Safe to call twice. Raises PeerGone when the
        peer goes first.
        """
        await self._connection.leave(timeout)

    def close(self) -> None:
        """End the connection. Calls under way fail, here with ConnectionClosed, at the peer with PeerGone.

        Safe to call twice, and after the loop has been closed. Raises RuntimeError in another thread than the loop's:
        there it is `loop.call_soon_threadsafe(client.close)`.
        """
        if not self._connection.closed and self._connection.owner != get_ident():
            self._refuse_to_close(self._connection.owner)
        self._connection.close()

    def _refuse_to_close(self, owner: int) -> NoReturn:
        raise RuntimeError(
            f"{self!r} belongs to the event loop of thread {owner}, and was closed in thread {get_ident()}; "
            "use loop.call_soon_threadsafe(client.close)"
        )

    async def wait_closed(self) -> BridgeError:
        """Wait until the connection has ended, and return why: PeerGone, ProtocolError, or ConnectionClosed where this
        side has closed it.
        """
        return await self._connection.wait_closed()

    @property
    def transport(self) -> str:
        """What the messages travel on: "shm" or "socket"."""
        return self._connection.transport

    @property
    def peer(self) -> Peer:
        """What the other side said of itself."""
        return self._connection.peer

    @property
    def closed(self) -> bool:
        """Whether the connection has ended or been closed."""
        return self._connection.closed

    @property
    def stats(self) -> dict[str, int]:
        """The counters of Connection.stats. Raises ConnectionClosed after the end."""
        return self._connection.stats

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _tracing(self) -> Tracing | None:
        return self._connection.tracing

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.transport
        return f"<AsyncClient of {self._connection.path}, {state}>"

    async def _begin(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,  # noqa: ASYNC109  # as in call
        traceparent: str | None,
        keywords: dict[str, Any],
        credit: int = 0,
        *,
        handles: bool = False,
    ) -> tuple[PendingCall, float, float]:
        """The call, sent; its deadline by the loop's clock, and the seconds until then."""
        connection = self._connection
        connection.require_usable(method)
        meta, seconds = connection.make_meta(method, timeout, traceparent, keywords, tells_no_limit=not credit)
        if credit:
            meta["stream"] = credit
        if handles:
            meta["handles"] = True
        deadline = self._loop.time() + seconds
        await self._wait_for_room(method, deadline)
        return connection.send_request(method, args, meta, credit), deadline, seconds

    async def _wait_for_room(self, method: str, deadline: float) -> None:
        if not await self._connection.wait_for_room(method, deadline):
            raise CallTimeout(f"{method}: there was no room for it within its deadline; it was not sent")

    async def _iterate(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,  # noqa: ASYNC109  # as in call
        credit: int,
        traceparent: str | None,
        keywords: dict[str, Any],
        *,
        handles: bool = False,
    ) -> AsyncGenerator[Any, None]:
        call, deadline, seconds = await self._begin(
            method, args, timeout, traceparent, keywords, credit, handles=handles
        )
        connection = self._connection
        items = call.items
        assert items is not None
        # In halves: granting each item would double the messages, granting all at the end would stall the sender.
        grant_after = max(1, credit // 2)
        taken = 0
        try:
            while items or not call.done:
                # Also where items are here: a peer that is always ahead would hold the deadline off for ever.
                if not call.done and self._loop.time() >= deadline:
                    raise CallTimeout(f"{method}: the stream did not end within {seconds:g} s")
                if not items:
                    await connection.wait_for(call, deadline)
                    continue
                item = items.popleft()
                taken += 1
                if taken >= grant_after and not call.done:
                    connection.grant(call, taken)
                    taken = 0
                yield item
        finally:
            connection.give_up(call)
        if call.error is not None:
            raise call.error
        if call.result is not None:
            raise TypeError(f"{method} gave a value, not a stream: use call()")


class _LoopCaller(AsyncClient):
    """Calls what the peer has lent: see references.ReferenceCaller."""

    def call_reference(
        self, method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float | None, *, handles: bool
    ) -> Awaitable[Any]:
        return self.call_with(method, args, timeout, None, dict(kwargs), handles=handles)

    def stream_reference(
        self,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        timeout: float | None,
        credit: int,
        *,
        handles: bool,
    ) -> AsyncGenerator[Any, None]:
        return self.stream_with(method, args, timeout, credit, None, dict(kwargs), handles=handles)

    def tell_references(self) -> None:
        self._connection.tell_references()


def _lend_through(connection: LoopConnection, exposed: Exposed) -> None:
    """Whoever the peer lends something keeps the connection by it, and not the other way round."""
    of = ref(connection)

    def caller() -> _LoopCaller | None:
        alive = of()
        return None if alive is None else _LoopCaller(alive, exposed)

    connection.lend_through(caller)


class _LazyClient(AsyncClient):
    """An AsyncClient that connects at its first call. What that adds to a call, it adds here alone."""

    _connection: LoopConnection  # once it is there

    def __init__(self, dial: Callable[[], Awaitable[LoopConnection]], exposed: Exposed, settings: Settings) -> None:
        # Not AsyncClient's, which takes the connection that there is not yet.
        self._dial: Final = dial
        self._exposed = exposed
        self._settings: Final = settings
        self._loop = asyncio.get_running_loop()
        self._owner: Final = get_ident()
        # Of what is served, as in connect_async: not of whichever call happens to be the first.
        self._context: Final = copy_context()
        self._dialing: asyncio.Task[None] | None = None
        self._is_connected = False
        self._was_closed = False

    async def notify(
        self,
        method: str,
        *args: Any,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        given = options.keywords_of(kwargs, keywords)
        await self._connect(method, DEFAULT_TIMEOUT_S)
        await super().notify(method, *args, traceparent=traceparent, kwargs=given)

    async def leave(self, timeout: float) -> None:  # noqa: ASYNC109  # as in AsyncClient.leave
        self._require_connected()
        await super().leave(timeout)

    def close(self) -> None:
        if self._is_connected:
            super().close()
            return
        if not self._was_closed and self._owner != get_ident():
            self._refuse_to_close(self._owner)
        self._was_closed = True
        if self._dialing is not None and not self._loop.is_closed():
            self._dialing.cancel()

    async def wait_closed(self) -> BridgeError:
        self._require_connected()
        return await super().wait_closed()

    @property
    def transport(self) -> str:
        """Before there is a connection, what was asked for."""
        return super().transport if self._is_connected else self._settings.transport

    @property
    def peer(self) -> Peer:
        self._require_connected()
        return super().peer

    @property
    def closed(self) -> bool:
        return super().closed if self._is_connected else self._was_closed

    @property
    def stats(self) -> dict[str, int]:
        self._require_connected()
        return super().stats

    @property
    def _tracing(self) -> Tracing | None:
        return super()._tracing if self._is_connected else tracing_in_use(str(self._settings.path))

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.transport if self._is_connected else "not connected yet"
        return f"<AsyncClient of {self._settings.path}, {state}>"

    def _require_connected(self) -> None:
        if self._was_closed:
            raise ConnectionClosed("the client has been closed")
        if not self._is_connected:
            raise PeerUnavailable(f"{self!r}: a lazy client connects at its first call")

    async def _begin(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,  # noqa: ASYNC109  # as in call
        traceparent: str | None,
        keywords: dict[str, Any],
        credit: int = 0,
        *,
        handles: bool = False,
    ) -> tuple[PendingCall, float, float]:
        await self._connect(method, timeout)
        return await super()._begin(method, args, timeout, traceparent, keywords, credit, handles=handles)

    async def _connect(self, method: str, timeout: float | None) -> None:  # noqa: ASYNC109  # as in call
        """Have a connection. All who call at once wait for the same attempt; whoever calls later makes another."""
        if self._is_connected:
            return
        # Before anything is dialed for it.
        options.check_method(method)
        seconds = options.seconds_of(timeout)
        if self._was_closed:
            raise ConnectionClosed(f"{method}: the client has been closed")
        running = asyncio.get_running_loop()
        if running is not self._loop:
            raise RuntimeError(f"{method}: {self!r} belongs to {self._loop!r} and was used in {running!r}")
        attempt = self._dialing
        if attempt is None:
            attempt = self._dialing = self._loop.create_task(self._dial_first(), context=self._context)
            attempt.add_done_callback(_look_at)
        # Whoever is cancelled meanwhile takes nothing from the others.
        await asyncio.wait({attempt}, timeout=None if seconds == math.inf else seconds)
        if not attempt.done():
            raise CallTimeout(f"{method}: there was no connection within its deadline; it was not sent")
        if attempt.cancelled():
            raise ConnectionClosed(f"{method}: the client has been closed")
        error = attempt.exception()
        if isinstance(error, BridgeError):
            # One for each: an exception has one traceback.
            raise type(error)(str(error)) from error
        if error is not None:
            raise error

    async def _dial_first(self) -> None:
        try:
            self._connection = await self._dial()
            self._is_connected = True
        finally:
            self._dialing = None


def _look_at(attempt: asyncio.Task[None]) -> None:
    """Else asyncio reports an error that nobody waited for."""
    if not attempt.cancelled():
        attempt.exception()
