"""What asyncio programs use: connect_async() for a client of one event loop, with many calls under way at once."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from threading import get_ident
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from . import config, frames, handshake
from .connection import DEFAULT_CREDIT, DEFAULT_TIMEOUT_S, Peer
from .connection_asyncio import LoopConnection
from .dialing import dial_as
from .errors import CallTimeout
from .exposed import Exposable, Exposed
from .handshake import Role
from .session import Call


async def connect_async(
    path: str | os.PathLike[str] | None = None,
    *,
    transport: str | None = None,
    name: str | None = None,
    timeout: float = handshake.TIMEOUT_S,  # noqa: ASYNC109  # of the handshake, kept by the thread
    expose: Exposable | None = None,
    max_message: int | None = None,
    ring_capacity: int | None = None,
    role: Role = "client",
) -> AsyncClient:
    """Connect the running event loop to the Node side. The dial itself runs in a thread of the loop's executor.

    expose: what the peer may call while the client is connected; coroutine functions and asynchronous generators too.
    role: as a "worker" this side may get any call that Node makes, as a "client" those that Node makes while serving
    this side's calls. The other arguments, and the errors, are those of connect().
    """
    settings = config.load(path, transport=transport, ring_capacity=ring_capacity, max_message=max_message)
    exposed = Exposed(expose)
    dial = functools.partial(dial_as, LoopConnection, settings, role=role, exposed=exposed, name=name, timeout=timeout)
    return AsyncClient(await _dial(dial), exposed)


async def _dial(dial: Callable[[], LoopConnection]) -> LoopConnection:
    dialing = asyncio.get_running_loop().run_in_executor(None, dial)
    try:
        # A thread cannot be cancelled: it goes on until the handshake's timeout at most.
        connection = await asyncio.shield(dialing)
    except asyncio.CancelledError:
        dialing.add_done_callback(_discard)
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
        self._connection: Final = connection
        self._exposed: Final = exposed
        self._loop: Final = asyncio.get_running_loop()

    async def call(
        self,
        method: str,
        *args: Any,
        timeout: float | None = DEFAULT_TIMEOUT_S,  # noqa: ASYNC109  # sent to the peer, as the other clients do
        traceparent: str | None = None,
    ) -> Any:
        """Call an exposed function of the peer and await what it returns.

        timeout: seconds, or None for no limit. traceparent: W3C trace context. Awaited in a function that serves a call
        of this client's, it waits no longer than that one's caller does, and hands its trace context on.

        A task that is cancelled meanwhile tells the peer that it need not go on.

        Raises RemoteError when the function raised; CallTimeout, UnknownMethod, Busy, CallTooDeep, EncodeError,
        MessageTooLarge; PeerGone when the peer goes before the answer, and ConnectionClosed when the client is closed.
        """
        began = monotonic()
        call, deadline, seconds = await self._begin(method, args, timeout, traceparent)
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
    ) -> AsyncGenerator[Any, None]:
        """Call a function of the peer that gives an iterator, and iterate over what it gives with `async for`.

        The call is made when the first item is asked for. timeout: seconds for the whole stream from then on, or None.
        credit: how many items the peer may send ahead. Use contextlib.aclosing() where it may not be read to its end.

        Iterating raises what call raises, and TypeError if the function gives no stream.
        """
        if type(credit) is not int or not 1 <= credit <= frames.CREDIT_MAX:
            raise ValueError(f"credit={credit!r}: must be an int from 1 to {frames.CREDIT_MAX}")
        return self._iterate(method, args, timeout, credit, traceparent)

    async def notify(self, method: str, *args: Any, traceparent: str | None = None) -> None:
        """Call a function of the peer without wanting to know what becomes of it: no answer, no error.

        Awaits room if the ring is full, at most the default timeout; then CallTimeout. Raises EncodeError,
        MessageTooLarge, CallTooDeep and what any method may raise.
        """
        connection = self._connection
        connection.require_usable(method)
        meta, _ = connection.make_meta(method, None, traceparent)
        deadline = self._loop.time() + DEFAULT_TIMEOUT_S
        await self._wait_for_room(method, deadline)
        connection.send_notification(method, args, meta)
        if not await connection.wait_for_room(method, deadline):
            raise CallTimeout(
                f"{method}: there was no room for all of it in {DEFAULT_TIMEOUT_S:g} s; it may arrive yet"
            )

    def expose(self, functions: Exposable) -> None:
        """Let the peer call more functions. Raises TypeError and ValueError, see Exposed.add."""
        self._exposed.add(functions)

    async def leave(self, timeout: float) -> None:  # noqa: ASYNC109  # of what is served, which goes on
        """Have Node make no new calls to this client, and serve those it had made before it knew. Close it afterwards:
        a worker that is replaced fails no call so.

        timeout: seconds; CallTimeout when there is still something to serve then. A function that this client serves
        waits in vain for its own end: let a task of the program's do it. Safe to call twice. Raises PeerGone when the
        peer goes first.
        """
        await self._connection.leave_in_loop(timeout)

    def close(self) -> None:
        """End the connection. Calls under way fail, here with ConnectionClosed, at the peer with PeerGone.

        Safe to call twice, and after the loop has been closed. Raises RuntimeError in another thread than the loop's:
        there it is `loop.call_soon_threadsafe(client.close)`.
        """
        if not self._connection.closed and self._connection.owner != get_ident():
            raise RuntimeError(
                f"{self!r} belongs to the event loop of thread {self._connection.owner}, and was closed in thread "
                f"{get_ident()}; use loop.call_soon_threadsafe(client.close)"
            )
        self._connection.close()

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

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.transport
        return f"<AsyncClient of {self._connection.path}, {state}>"

    async def _begin(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,  # noqa: ASYNC109  # as in call
        traceparent: str | None,
        credit: int = 0,
    ) -> tuple[Call, float, float]:
        """The call, sent; its deadline by the loop's clock, and the seconds until then."""
        connection = self._connection
        connection.require_usable(method)
        meta, seconds = connection.make_meta(method, timeout, traceparent)
        if credit:
            meta["stream"] = credit
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
    ) -> AsyncGenerator[Any, None]:
        connection = self._connection
        call, deadline, seconds = await self._begin(method, args, timeout, traceparent, credit)
        items = call.items
        assert items is not None
        # In halves: granting each item would double the messages, granting all at the end would stall the sender.
        grant_after = max(1, credit // 2)
        taken = 0
        try:
            while items or not call.done:
                while items:
                    item = items.popleft()
                    taken += 1
                    if taken >= grant_after and not call.done:
                        connection.grant(call, taken)
                        taken = 0
                    yield item
                if call.done:
                    break
                if self._loop.time() >= deadline:
                    raise CallTimeout(f"{method}: the stream did not end within {seconds:g} s")
                await connection.wait_for(call, deadline)
        finally:
            connection.give_up(call)
        if call.error is not None:
            raise call.error
        if call.result is not None:
            raise TypeError(f"{method} gives no stream but a value; use call()")
