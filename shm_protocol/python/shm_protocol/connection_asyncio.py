"""A connection that an asyncio event loop runs: nothing in here waits but by `await`.

While a call of ours is outstanding the transport is polled, for a moment in each turn of the loop and as long as its
spin budget lasts. Then, and whenever nobody waits for an answer, it is parked, and the socket wakes the loop.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from pathlib import Path
from threading import get_ident
from typing import Any, Final, NoReturn

from . import frames
from .connection import (
    READ_AHEAD_WHILE_SERVING,
    Connection,
    Peer,
    _is_stream,
    being_served,
    logger,
)
from .errors import BridgeError, CallTimeout, ConnectionClosed, EncodeError, MessageTooLarge, PeerGone
from .exposed import Exposed
from .handshake import Role
from .session import OUTSTANDING_MAX, Call, Request
from .transport import MessageTransport

STARTS_PER_TURN: Final = 16
"""Functions that are started, and items of their streams that are sent, before the rest of the loop gets its turn."""

ITEMS_PER_TURN: Final = 64
"""Items that an asynchronous iterator sends before the rest of the loop gets its turn, if it never waits itself."""

_END: Final = object()


class LoopConnection(Connection):
    """A connection of one event loop and its thread. Made by dialing.dial_as, in any thread; start() gives it its loop.

    A function that returns an awaitable, or an asynchronous iterator where a stream is wanted, is served by a task of
    its own; any other is run in the loop, which stands still meanwhile.
    """

    _loop: asyncio.AbstractEventLoop
    _context: Context  # of the functions served: not of whichever call of ours happened to wake us
    _descriptor: int

    def __init__(self, transport: MessageTransport, *, exposed: Exposed, role: Role, peer: Peer, path: Path) -> None:
        super().__init__(transport, exposed=exposed, role=role, peer=peer, path=path)
        self._has_turn = False  # one is due
        self._watches_room = False
        self._room_waiters: list[asyncio.Future[None]] = []
        self._credit_waiters: dict[int, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # a loop keeps no task alive
        self._leave_waiters: list[asyncio.Future[None]] = []

    def start(self) -> None:
        """Belong to the running loop and its thread from now on."""
        self.owner = get_ident()
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._context.run(being_served.set, None)
        self._descriptor = self.fileno()
        self._context.run(self._loop.add_reader, self._descriptor, self._on_readable)
        self._wake_up()

    # For whoever calls.

    def require_usable(self, method: str) -> None:
        """Raise ConnectionClosed after the end and in a forked child, RuntimeError outside of the loop."""
        if self._ended is not None:
            raise ConnectionClosed(f"{method}: {self._ended}")
        running = asyncio.get_running_loop()
        if running is not self._loop:
            raise RuntimeError(f"{method}: {self!r} belongs to {self._loop!r} and was used in {running!r}")

    def make_meta(self, method: str, timeout: float | None, traceparent: str | None) -> tuple[dict[str, Any], float]:
        """What a request tells beside its arguments, and the seconds to wait. Made while serving a call that came by
        this connection, it belongs to that one's chain.
        """
        current: Request | None = None
        serving = being_served.get()
        # A task may outlive the call that it was made in.
        if serving is not None and serving[0] is self and serving[1].running:
            current = serving[1]
        return self._make_meta(current, method, timeout, traceparent)

    def send_request(self, method: str, args: Sequence[Any], meta: dict[str, Any], credit: int = 0) -> Call:
        """Send a request. Raises EncodeError, Busy and MessageTooLarge, and then nothing was sent."""
        call_id, message = self._session.start(method, args, meta or None)
        call = self._session.track(call_id, method, credit)
        try:
            self._post(message)
        except BaseException as error:
            self._abandon(call_id, method, error)
            raise
        return call

    def send_notification(self, method: str, args: Sequence[Any], meta: dict[str, Any]) -> None:
        """Send a notification. Raises EncodeError and MessageTooLarge, and then nothing was sent."""
        message = frames.encode_notification(self._session.packer, method, args, meta or None)
        try:
            self._post(message)
        except BridgeError as error:
            self._end_for(error)
            raise

    def grant(self, call: Call, items: int) -> None:
        """Let the peer send more items of a stream."""
        try:
            self._post(self._session.grant(call, items))
        except BridgeError as error:
            # The items that have come are still given out; the error follows them.
            self._end_for(error)

    def count_call(self, call: Call, began: float) -> None:
        """A call that began at `began` seconds of time.monotonic() is awaited no more."""
        self._count_call(began, not call.done or call.error is not None)

    def give_up(self, call: Call) -> None:
        """Want the answer no more, and tell the peer, unless there is one already."""
        if not call.done and self._ended is None:
            self._post(self._session.forget(call.id))

    async def wait_for(self, call: Call, deadline: float) -> None:
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
        while not self._clear:
            if self._loop.time() >= deadline:
                return False
            future: asyncio.Future[None] = self._loop.create_future()
            self._room_waiters.append(future)
            await self._until(future, deadline)
            if self._ended is not None:
                raise _named(self._ended, method)
        return True

    async def leave_in_loop(self, timeout: float) -> None:  # noqa: ASYNC109  # as in leave
        """Have the peer send no new calls, and serve those it had sent before it knew, to the end of their tasks.

        timeout: seconds; CallTimeout when there is still something to serve then. Raises PeerGone, or ConnectionClosed,
        if the connection ends first.
        """
        self.require_usable("leave")
        deadline = self._loop.time() + timeout
        self._begin_to_leave()
        while not self._has_served_all():
            if self._loop.time() >= deadline:
                raise CallTimeout(f"{self!r} was still serving {timeout:g} s after it began to leave")
            future: asyncio.Future[None] = self._loop.create_future()
            self._leave_waiters.append(future)
            await self._until(future, deadline)
            if self._ended is not None:
                raise _named(self._ended, "leave")

    def _has_served_all(self) -> bool:
        return not self._tasks and super()._has_served_all()

    # What would stop the loop.

    def leave(self, timeout: float) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting("leave")

    def call_with(self, method: str, args: Sequence[Any], timeout: float | None, traceparent: str | None) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting(method)

    def stream_with(
        self, method: str, args: Sequence[Any], timeout: float | None, credit: int, traceparent: str | None
    ) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting(method)

    def notify_with(self, method: str, args: Sequence[Any], traceparent: str | None) -> NoReturn:
        """Raises RuntimeError."""
        self._refuse_waiting(method)

    def _refuse_waiting(self, method: str) -> NoReturn:
        raise RuntimeError(
            f"{method}: this call would stop the event loop that serves the call it is made from; "
            "await a call of the AsyncClient, or make it in a thread (asyncio.to_thread)"
        )

    # The loop.

    def _wake_up(self) -> None:
        """Have a turn soon."""
        if not self._has_turn and self._ended is None:
            self._has_turn = True
            self._loop.call_soon(self._on_turn, context=self._context)

    def _on_turn(self) -> None:
        self._has_turn = False
        self._take_turn()

    def _on_readable(self) -> None:
        try:
            self.unpark()
        except BridgeError:
            # If it ended the connection, whoever waits has been told.
            if self._ended is None:
                raise
            return
        self._take_turn()

    def _on_deadline(self, future: asyncio.Future[None]) -> None:
        # The loop may have been busy with something else: what had come by now is in time. Not every loop looks at its
        # sockets before it runs its timers.
        self._take_turn()
        self._resolve(future)

    def _take_turn(self) -> None:
        if self._ended is not None:
            return
        again = True
        try:
            again = self._do_what_there_is()
        except BridgeError:
            if self._ended is None:
                raise
        finally:
            # Even if something raised, such as a logger or a function that exits: the others must go on.
            if again:
                self._wake_up()
            self._tell_leavers()

    def _do_what_there_is(self) -> bool:
        """Send, take and start. False: there is nothing to do until the socket says so."""
        # Where nobody waits for an answer, polling would only keep the processor from others.
        state = self.poll() if self._session.pending else ("parked" if self.park() else "ready")
        if state == "ready":
            self._serve_some()
        if self._kind == "socket":
            self._watch_room(self._transport.sending)
            return state == "ready"
        return state != "parked"

    def _serve_some(self) -> None:
        try:
            # Full: what has arrived is read all the same, so that the peer can go on.
            has_read = self._read_ahead(*READ_AHEAD_WHILE_SERVING) if self._flush() else self._read_ahead()
            started = 0
            while started < STARTS_PER_TURN and self._flush() and self._start_next():
                started += 1
            if self._peer_left and not has_read and not started:
                raise PeerGone("the peer has closed the connection")
        except BridgeError as error:
            self._end_for(error)
            raise
        if self._clear:
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

    def _post(self, message: bytes) -> None:
        super()._post(message)
        # Sending ends a park.
        self._wake_up()

    def _post_answer(self, request: Request, result: object) -> None:
        super()._post_answer(request, result)
        self._wake_up()

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

    def _tell_leavers(self) -> None:
        waiters, self._leave_waiters = self._leave_waiters, []
        for future in waiters:
            self._resolve(future)

    def _end(self, reason: BridgeError) -> None:
        if self._ended is not None:
            return
        # Before the descriptor is closed: the next file that is opened may get its number.
        self._loop.remove_reader(self._descriptor)
        self._watch_room(False)
        calls = list(self._session.pending.values())
        super()._end(reason)
        for call in calls:
            call.error = _named(reason, call.method)
        self._tell_room()
        self._tell_leavers()

    # Serving in tasks.

    def _respond(self, request: Request, result: object) -> None:
        if isinstance(result, Awaitable | AsyncIterable):
            self._serve_in_task(request, result)
        else:
            super()._respond(request, result)

    def _drop(self, request: Request, result: object) -> None:
        if isinstance(result, Awaitable) and not request.cancelled:
            # A notification, which is not done when its function has returned.
            if len(self._tasks) < OUTSTANDING_MAX:
                self._serve_in_task(request, result)
                return
            # Nothing else bounds them: who notifies waits for nothing.
            logger.warning(
                "the notification %s is dropped: %d calls are served already", request.method, OUTSTANDING_MAX
            )
            self._session.dropped_notifications += 1
        if inspect.iscoroutine(result):
            result.close()
        super()._drop(request, result)

    def _serve_in_task(self, request: Request, result: object) -> None:
        context = self._context.copy()
        context.run(being_served.set, (self, request))
        task = self._loop.create_task(self._serve_to_the_end(request, result), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._tell_leavers()

    async def _serve_to_the_end(self, request: Request, result: object) -> None:
        # Not before: a task that is cancelled before it runs could not clean up.
        request.wake = self._waker(request, asyncio.current_task())
        try:
            if request.cancelled:
                self._drop(request, result)
            else:
                result, failed = await self._complete(request, result)
                if request.running:
                    self._answer(request, result, failed)
        except BridgeError as error:
            self._end_for(error)
            if self._ended is None:
                raise
        finally:
            request.wake = None

    def _answer(self, request: Request, result: object, failed: Exception | None) -> None:
        if self.closed or request.cancelled or (failed is None and not request.id):
            if failed is not None:
                logger.info("%s raised after its caller had given up", request.method, exc_info=failed)
            self._drop(request, result)
        elif failed is not None:
            self._respond_failure(request, failed)
            self._session.drop(request)
        elif isinstance(result, AsyncIterable):
            hint = f"result: {request.method} gives an iterator; call it with stream()"
            self._post(self._session.refuse(request, EncodeError(hint)))
        elif request.wants_stream and _is_stream(result):
            self._session.flow(request, iter(result))  # type: ignore[call-overload]  # it is an iterable
            self._wake_up()
        else:
            super()._respond(request, result)

    def _waker(self, request: Request, task: asyncio.Task[Any] | None) -> Callable[[], None]:
        def wake() -> None:
            waiter = self._credit_waiters.get(request.id)
            if request.cancelled:
                if task is not None and not self._loop.is_closed():
                    task.cancel()
            elif waiter is not None:
                self._resolve(waiter)

        return wake

    async def _complete(self, request: Request, result: Any) -> tuple[Any, Exception | None]:
        """What an awaitable gives, after the items if that is a stream; or what it raised."""
        try:
            if isinstance(result, Awaitable):
                result = await result
            if isinstance(result, AsyncIterable) and request.wants_stream:
                await self._send_items(request, result)
                result = None
        except Exception as raised:  # noqa: BLE001  # whatever it is, the caller is told
            # Without our own frame: the stack begins at the user's function.
            return None, raised.with_traceback(raised.__traceback__ and raised.__traceback__.tb_next)
        except BaseException as raised:
            # Cancelled by somebody else than the caller, or the program ends: the caller is told all the same.
            if self._ended is None and not request.cancelled:
                self._respond_failure(request, raised)
            self._session.drop(request)
            raise
        return result, None

    async def _send_items(self, request: Request, iterable: AsyncIterable[Any]) -> None:
        """Send what an asynchronous iterable gives, no further ahead than credit and room allow. A stream that is
        broken off by an item that cannot be sent is answered here.
        """
        iterator = aiter(iterable)
        try:
            sent = 0
            while True:
                await self._wait_for_credit(request)
                await self.wait_for_room(request.method, math.inf)
                value = await anext(iterator, _END)
                if value is _END or request.cancelled:
                    return
                try:
                    self._post(frames.encode_item(self._session.packer, request.id, value))
                except (EncodeError, MessageTooLarge) as error:
                    self._post(self._session.refuse(request, error))
                    return
                request.credit -= 1
                sent += 1
                if sent % ITEMS_PER_TURN == 0:
                    await asyncio.sleep(0)
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    async def _wait_for_credit(self, request: Request) -> None:
        while request.credit <= 0:
            self._credit_waiters[request.id] = self._loop.create_future()
            try:
                await self._credit_waiters[request.id]
            finally:
                del self._credit_waiters[request.id]


def _named(reason: BridgeError, method: str) -> BridgeError:
    """What a call that was under way is told of the end of its connection."""
    kind = ConnectionClosed if isinstance(reason, ConnectionClosed) else PeerGone
    return kind(f"{method}: {reason}")
