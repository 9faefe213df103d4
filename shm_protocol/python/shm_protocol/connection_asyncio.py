"""A connection that an asyncio event loop runs: nothing in here waits but by `await`.

While a call of ours is outstanding the transport is polled, for a moment in each turn of the loop and as long as its
spin budget lasts. Then, and whenever nobody waits for an answer, it is parked, and the socket wakes the loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from pathlib import Path
from threading import get_ident
from typing import Any, Final, NoReturn

from . import forks, frames, link, options
from .calls import PendingCall, ServedCall
from .current_call import being_served, served_here
from .errors import BridgeError, CallTimeout, ConnectionClosed, MessageTooLarge, PeerGone, ProtocolError
from .exposed import Exposed
from .handshake import Peer, Role
from .link import READ_AHEAD_WHILE_SERVING, Link
from .log import log_plainly
from .nesting import make_meta
from .options import DEFAULT_CREDIT, DEFAULT_TIMEOUT_S
from .references import ReferenceCaller
from .serving_asyncio import LoopServing
from .serving_traced import TracedServing
from .session import ended_for
from .tracing import tracing_in_use
from .transports.transport import MessageTransport

STARTS_PER_TURN: Final = 16
"""Functions that are started, and items of their streams that are sent, before the rest of the loop gets its turn."""


class _TracedLoopServing(TracedServing, LoopServing):
    """Each call has a span."""


class LoopConnection:
    """A connection of one event loop and its thread. Made by dialing.dial_as, in any thread; start() gives it its loop.

    A function that returns an awaitable, or an asynchronous iterator where a stream is wanted, is served by a task of
    its own; any other is run in the loop, which stands still meanwhile.
    """

    _loop: asyncio.AbstractEventLoop
    _context: Context  # of the functions served: not of whichever call of ours happened to wake us
    _descriptor: int

    def __init__(
        self,
        transport: MessageTransport,
        *,
        exposed: Exposed,
        role: Role,
        peer: Peer,
        path: Path,
        whose: str = "",
    ) -> None:
        self.role: Final = role
        self.peer: Final = peer
        self.path: Final = path
        self.owner = get_ident()
        self.link: Final = Link(transport, "served", whose, peer.minor)
        self.tracing: Final = tracing_in_use(str(path))
        if self.tracing is None:
            self._serving: LoopServing = LoopServing(self.link, exposed, self)
        else:
            self._serving = _TracedLoopServing(self.tracing, self.link, exposed, self)
        self._transport: Final = transport
        self._session: Final = self.link.session
        self._is_started = False
        self._has_turn = False  # one is due
        self._watches_room = False
        self._room_waiters: list[asyncio.Future[None]] = []
        self._leave_waiters: list[asyncio.Future[None]] = []
        self._end_waiters: list[asyncio.Future[None]] = []
        forks.register(self)

    def start(self) -> None:
        """Belong to the running loop and its thread from now on."""
        self.owner = get_ident()
        self._loop = asyncio.get_running_loop()
        self._is_started = True
        self._context = copy_context()
        self._context.run(being_served.set, None)
        self._serving.start(self._loop, self._context)
        self._session.lending.wake = self._wake_loop
        self._descriptor = self._transport.fileno()
        self._context.run(self._loop.add_reader, self._descriptor, self._on_readable)
        try:
            # What is exposed is named before whoever has connected goes on.
            self.link.flush()
        except BridgeError as error:
            self.end_for(error)
        self.wake_up()

    # For whoever calls.

    def require_usable(self, method: str) -> None:
        """Raise ConnectionClosed after the end and in a forked child, RuntimeError outside of the loop."""
        if self.closed:
            raise ConnectionClosed(f"{method}: {self.link.ended}")
        running = asyncio.get_running_loop()
        if running is not self._loop:
            raise RuntimeError(f"{method}: {self!r} belongs to {self._loop!r} and was used in {running!r}")

    def make_meta(
        self,
        method: str,
        timeout: float | None,
        traceparent: str | None,
        keywords: dict[str, Any],
        *,
        tells_no_limit: bool = False,
    ) -> tuple[dict[str, Any], float]:
        """What a request tells beside its positional arguments, and the seconds to wait. Made while serving a call that
        came by this connection, it belongs to that one's chain.
        """
        current: ServedCall | None = None
        served = served_here()
        # A task may outlive the call that it was made in.
        if served is not None and served[0] is self and served[1].running:
            current = served[1]
        if traceparent is None and self.tracing is not None:
            traceparent = self.tracing.traceparent()
        meta, seconds = make_meta(current, method, timeout, traceparent, tells_no_limit=tells_no_limit)
        self._session.add_keywords(meta, method, keywords)
        return meta, seconds

    def send_request(self, method: str, args: Sequence[Any], meta: dict[str, Any], credit: int = 0) -> PendingCall:
        """Send a request. Raises EncodeError, Busy and MessageTooLarge, and then nothing was sent."""
        call_id, message = self._session.start(method, args, meta or None)
        call = self._session.track(call_id, method, credit)
        try:
            self.link.post(message)
        except BaseException as error:
            self._abandon(call_id, method, error)
            raise
        self.wake_up()
        return call

    def send_notification(self, method: str, args: Sequence[Any], meta: dict[str, Any]) -> None:
        """Send a notification. Raises EncodeError and MessageTooLarge, and then nothing was sent."""
        message = frames.encode_notification(self._session.encoder, method, args, meta or None)
        try:
            self.link.post(message)
        except BridgeError as error:
            self.end_for(error)
            raise
        self.wake_up()

    def name_exposed(self, names: Sequence[str]) -> None:
        """See exposed.Namer."""
        if self.closed:
            return
        is_owner = self._is_started and self.owner == get_ident()
        try:
            self.link.name(names, is_owner=is_owner)
        except BridgeError as error:
            # What is exposed stays so; whoever uses the connection next is told of its end.
            self.end_for(error)
        if is_owner:
            self.wake_up()
        elif self._is_started:
            # A loop that has been closed tells nobody anything.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.wake_up)

    def lend_through(self, caller: Callable[[], ReferenceCaller | None]) -> None:
        """Have what the peer lends called through this."""
        self._session.lending.caller = caller

    def tell_references(self) -> None:
        """Tell the peer what is held and let go of; in another thread than the loop's, the loop does."""
        if self.closed or self.owner != get_ident():
            return
        try:
            self.link.tell_references()
        except BridgeError as error:
            self.end_for(error)
        self.wake_up()

    def _wake_loop(self) -> None:
        """Have a turn soon. From a finalizer, in whatever thread."""
        if not self.closed:
            # A loop that has been closed tells nobody anything.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.wake_up)

    def grant(self, call: PendingCall, items: int) -> None:
        """Let the peer send more items of a stream."""
        try:
            self.link.post(self._session.grant(call, items))
        except BridgeError as error:
            # The items that have come are still given out; the error follows them.
            self.end_for(error)
        self.wake_up()

    def count_call(self, call: PendingCall, began: float) -> None:
        """A call that began at `began` seconds of time.monotonic() is awaited no more."""
        self._transport.count_call(began, not call.done or call.error is not None)

    def give_up(self, call: PendingCall) -> None:
        """Want the answer no more, and tell the peer, unless there is one already."""
        try:
            self.link.forget(call)
        except BridgeError as error:
            self.end_for(error)
            raise
        self.wake_up()

    async def wait_for(self, call: PendingCall, deadline: float) -> None:
        """Return when something has come for the call, and at the deadline, a time of the loop's clock."""
        future: asyncio.Future[None] = self._loop.create_future()
        call.wake = lambda: self._resolve(future)
        try:
            await self._until(future, deadline)
        finally:
            call.wake = None

    async def wait_for_room(self, method: str, deadline: float) -> bool:
        """Return when all that had to wait has been sent. False: the deadline has passed. Raises PeerGone, or
        ConnectionClosed, if the connection ends first.
        """
        while not self.link.clear:
            if self._loop.time() >= deadline:
                return False
            future: asyncio.Future[None] = self._loop.create_future()
            self._room_waiters.append(future)
            await self._until(future, deadline)
            if self.closed:
                self._raise_ended(method)
        return True

    async def leave(self, timeout: float) -> None:  # noqa: ASYNC109  # as in AsyncClient.leave
        """Have the peer send no new calls, and serve those it had sent before it knew, to the end of their tasks.

        timeout: seconds; CallTimeout when there is still something to serve then. Raises PeerGone, or ConnectionClosed,
        if the connection ends first.
        """
        self.require_usable("leave")
        seconds = options.finite_seconds_of(timeout)
        deadline = self._loop.time() + seconds
        try:
            self.link.begin_to_leave()
        except BridgeError as error:
            self.end_for(error)
            raise
        self.wake_up()
        while not self._has_served_all():
            if self._loop.time() >= deadline:
                raise CallTimeout(f"{self!r} was still serving {seconds:g} s after it began to leave")
            future: asyncio.Future[None] = self._loop.create_future()
            self._leave_waiters.append(future)
            await self._until(future, deadline)
            if self.closed:
                self._raise_ended("leave")

    async def wait_closed(self) -> BridgeError:
        """Wait until the connection has ended, and return why."""
        if self.link.ended is None:
            future: asyncio.Future[None] = self._loop.create_future()
            self._end_waiters.append(future)
            await future
        assert self.link.ended is not None
        return self.link.ended

    def _has_served_all(self) -> bool:
        return not self._serving.tasks and self.link.has_served_all()

    # State.

    @property
    def transport(self) -> str:
        """What the messages travel on: "shm" or "socket"."""
        return self._transport.kind

    @property
    def closed(self) -> bool:
        """Whether it has ended or been closed."""
        return self.link.ended is not None

    @property
    def stats(self) -> dict[str, int]:
        """See Connection.stats."""
        return {**self._transport.stats(), "served": self._serving.served, **self._session.stats()}

    def close(self) -> None:
        """End the connection. Safe to call twice."""
        self._end(ConnectionClosed("the connection has been closed"))

    def interrupt(self) -> None:
        """close() for another thread than the owner."""
        self._transport.interrupt("the connection has been closed by another thread")

    def __repr__(self) -> str:
        state = "ended" if self.closed else self.transport
        return f"<LoopConnection {state} to {self.peer.name!r} as {self.role}>"

    def after_fork_in_child(self) -> None:
        """See forks.py."""
        self.link.end_in_child()
        served = being_served.get()
        if served is not None and self.owner == get_ident():
            # A task that a served function has begun may have forked, and comes back to the loop alone.
            self._loop.call_soon(self._serving.end_child)

    def heed(self) -> bool:
        """Learn of a cancel that has arrived while a function runs; nothing else is started. False: the peer is gone.

        In another thread than the owner nothing is read, and what the owner has read is known.
        """
        if self.closed or self.owner != get_ident():
            return not self.closed
        try:
            return self.link.heed()
        except BridgeError as error:
            self.end_for(error)
            if not link.ends(error):
                raise
            return False

    # What would stop the loop. A served function may try each, by current_call().connection.

    def call(
        self,
        method: str,
        *args: Any,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting(method)

    def stream(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        credit: int = DEFAULT_CREDIT,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting(method)

    def notify(
        self,
        method: str,
        *args: Any,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting(method)

    def call_with(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
        *,
        handles: bool = False,
    ) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting(method)

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
    ) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting(method)

    def notify_with(
        self,
        method: str,
        args: Sequence[Any],
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
    ) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting(method)

    def _refuse_waiting(self, method: str) -> NoReturn:
        raise RuntimeError(
            f"{method}: this call would stop the event loop that serves the call it is made from; "
            "await a call of the AsyncClient, or make it in a thread (asyncio.to_thread)"
        )

    # The loop.

    def wake_up(self) -> None:
        """Have a turn soon: sending ends a park."""
        if not self._has_turn and not self.closed:
            self._has_turn = True
            self._loop.call_soon(self._on_turn, context=self._context)

    def _on_turn(self) -> None:
        self._has_turn = False
        self._take_turn()

    def _on_readable(self) -> None:
        if self.closed:
            return
        try:
            self.link.unpark()
        except BridgeError as error:
            # If it ended the connection, whoever waits has been told.
            self.end_for(error)
            if not link.ends(error):
                raise
            return
        except MemoryError:
            self._end_without_memory()
            raise
        self._take_turn()

    def _on_deadline(self, future: asyncio.Future[None]) -> None:
        # The loop may have been busy with something else: what had come by now is in time. Not every loop looks at its
        # sockets before it runs its timers.
        self._take_turn()
        self._resolve(future)

    def _take_turn(self) -> None:
        if self.closed:
            return
        again = True
        try:
            again = self._do_what_there_is()
        except BridgeError as error:
            self.end_for(error)
            if not link.ends(error):
                raise
        except MemoryError:
            self._end_without_memory()
            raise
        finally:
            # Even if something raised, such as a logger or a function that exits: the others must go on.
            if again:
                self.wake_up()
            self._tell_leavers()

    def _end_without_memory(self) -> None:
        # The message that there was no memory for may still be in the ring, and no other comes past it.
        self._end(PeerGone("there was no memory for a message of the peer's"))

    def _do_what_there_is(self) -> bool:
        """Send, take and start. False: there is nothing to do until the socket says so."""
        # Where nobody waits for an answer, polling would only keep the processor from others.
        link = self.link
        state = link.poll() if self._session.pending else ("parked" if link.park() else "ready")
        if state == "ready":
            self._serve_some()
        if self.transport == "socket":
            self._watch_room(self._transport.sending)
            return state == "ready"
        return state != "parked"

    def _serve_some(self) -> None:
        link = self.link
        # Full: what has arrived is read all the same, so that the peer can go on.
        has_read = link.read_ahead(*READ_AHEAD_WHILE_SERVING) if link.flush() else link.read_ahead()
        started = 0
        while started < STARTS_PER_TURN and link.flush() and self._serving.start_next():
            started += 1
        if link.peer_left and not has_read and not started:
            raise PeerGone("the peer has closed the connection")
        if link.clear:
            self._tell_room()

    def _watch_room(self, wanted: bool) -> None:
        """Be woken when the socket has room, which a ring tells by its doorbell."""
        if wanted != self._watches_room:
            self._watches_room = wanted
            if wanted:
                # In a copy: a turn is running in the context itself.
                self._context.copy().run(self._loop.add_writer, self._descriptor, self._take_turn)
            else:
                self._loop.remove_writer(self._descriptor)

    async def _until(self, future: asyncio.Future[None], deadline: float) -> None:
        timer = None
        if deadline != math.inf:
            timer = self._loop.call_at(deadline, self._on_deadline, future, context=self._context)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()

    def _resolve(self, future: asyncio.Future[None]) -> None:
        if not future.done() and not self._loop.is_closed():
            future.set_result(None)

    def _tell_room(self) -> None:
        waiters, self._room_waiters = self._room_waiters, []
        for future in waiters:
            self._resolve(future)

    def has_served(self) -> None:
        """A call has been served to its end, in a task."""
        self._tell_leavers()
        self.wake_up()

    def _tell_leavers(self) -> None:
        waiters, self._leave_waiters = self._leave_waiters, []
        for future in waiters:
            self._resolve(future)

    # The end.

    def end_for(self, error: BridgeError) -> None:
        """End the connection if `error` means that it cannot go on."""
        if link.ends(error):
            self._end(error)

    def _abandon(self, call_id: int, method: str, error: BaseException) -> None:
        """A call ends before it has been sent in full."""
        if isinstance(error, MessageTooLarge):
            self._session.drop(call_id)
            return
        if isinstance(error, BridgeError):
            self.end_for(error)
        if not self.closed:
            self.link.post(self._session.forget(call_id))
            self.wake_up()
        if link.ends(error):
            raise ended_for(method, error) from error

    def _raise_ended(self, method: str) -> NoReturn:
        assert self.link.ended is not None
        raise ended_for(method, self.link.ended)

    def _end(self, reason: BridgeError) -> None:
        if self.closed:
            return
        # Before the descriptor is closed: the next file that is opened may get its number.
        self._loop.remove_reader(self._descriptor)
        self._watch_room(False)
        streams = self.link.end(reason)
        if isinstance(reason, ProtocolError):
            log_plainly(logging.ERROR, "%r ended: %s", self, reason)
        self._tell_room()
        self._tell_leavers()
        waiters, self._end_waiters = self._end_waiters, []
        for future in waiters:
            self._resolve(future)
        self._serving.close_streams(streams)
