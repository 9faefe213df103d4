"""Serving in an event loop: what a function gives that is still to be awaited is served by a task of its own."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextvars import Context, copy_context
from typing import Any, Final, Protocol

from . import streams
from .calls import ServedCall
from .current_call import Caller, being_served
from .errors import BridgeError
from .exits import ends_program, is_interrupt
from .exposed import Exposed
from .forks import Owner
from .link import Link, ends
from .log import log_plainly, log_raised
from .serving import Serving, without_our_frame
from .session import MAX_OUTSTANDING
from .vetted_asyncio import vetted

ITEMS_PER_TURN: Final = 64
"""Items that an asynchronous iterator sends before the rest of the loop gets its turn, if it never waits itself."""


class LoopCaller(Caller, Protocol):
    """What is needed of the connection that is served."""

    def end_for(self, error: BridgeError) -> None: ...
    def has_served(self) -> None: ...
    def wake_up(self) -> None: ...
    async def wait_for_room(self, method: str, deadline: float) -> bool: ...


class LoopServing(Serving):
    """Runs what one side exposes for the peer of a connection that belongs to an event loop.

    tasks: those that serve.
    """

    _loop: asyncio.AbstractEventLoop
    _context: Context

    def __init__(self, link: Link, exposed: Exposed, connection: LoopCaller) -> None:
        super().__init__(link, exposed, connection)
        self.tasks: Final[set[asyncio.Task[None]]] = set()  # a loop keeps no task alive
        self._credit_waiters: Final[dict[int, asyncio.Future[None]]] = {}
        self._owner: Final = Owner()

    def start(self, loop: asyncio.AbstractEventLoop, context: Context) -> None:
        """Serve in `loop`, each call in a copy of `context`."""
        self._loop = loop
        self._context = context

    @property
    def _caller(self) -> LoopCaller:
        connection = self._connection()
        assert connection is not None, "the loop keeps it while it serves"
        return connection  # type: ignore[return-value]  # as __init__ takes it

    def _make_context(self, request: ServedCall) -> Context:
        context = self._context.copy()
        served = (self._caller, request)
        context.run(being_served.set, lambda: served)
        return context

    def _run(
        self, request: ServedCall, function: Callable[..., Any], args: Sequence[Any], *, is_own: bool = True
    ) -> tuple[Any, BaseException | None]:
        try:
            return super()._run(request, function, args, is_own=is_own)
        finally:
            self.end_child()

    def end_child(self) -> None:
        """A forked child is not to go on with the loop: what it does there its parent does as well, on the same
        descriptors.
        """
        # First whether there is an end at all, which costs no system call.
        if self._link.ended is not None:
            self._owner.end_others()

    def _respond_later(self, request: ServedCall, result: object) -> None:
        assert request.context is not None
        # In the very context of the function: what it has set there is its coroutine's as well.
        task = self._loop.create_task(self._serve_to_the_end(request, result), context=request.context)
        self.tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _drop(self, request: ServedCall, result: object) -> None:
        if streams.is_awaitable(result) and not request.id and not request.cancelled and not request.awaited:
            # A notification, which is not done when its function has returned.
            if len(self.tasks) < MAX_OUTSTANDING:
                self._respond_later(request, result)
                return
            # Nothing else bounds them: who notifies waits for nothing.
            log_plainly(
                logging.WARNING,
                "the notification %s is dropped: %d calls are served already",
                request.method,
                MAX_OUTSTANDING,
            )
            self._session.dropped_notifications += 1
        super()._drop(request, result)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        connection = self._connection()
        if connection is not None:
            self._caller.has_served()

    async def _serve_to_the_end(self, request: ServedCall, result: object) -> None:
        # Not before: a task that is cancelled before it runs could not clean up.
        request.wake = self._waker(request, asyncio.current_task())
        request.awaited = request.running = True
        # The task is in the context itself, which cannot be entered twice.
        request.context = copy_context()
        try:
            if request.cancelled:
                self._drop(request, result)
            else:
                await vetted(self._await_and_answer(request, result), self.end_child)
        except BridgeError as error:
            self._caller.end_for(error)
            if not ends(error):
                raise
        except MemoryError:
            raise
        except BaseException as escaped:
            if request.exits or is_interrupt(escaped) or self._loop.is_closed() or self._is_given_up(request, escaped):
                raise
            self._answer_escaped(request, escaped)
        finally:
            request.wake = None

    async def _await_and_answer(self, request: ServedCall, result: object) -> None:
        result, failed = await self._complete(request, result)
        if request.running:
            await self._answer(request, result, failed)

    async def _complete(self, request: ServedCall, result: Any) -> tuple[Any, BaseException | None]:
        """What an awaitable gives, after the items if that is a stream; or what it raised."""
        is_own = streams.runs_function(result)
        try:
            if streams.is_awaitable(result):
                result = await result
            if streams.is_async_stream(result) and request.wants_stream:
                is_own = streams.runs_function(result)
                await self._send_items(request, result)
                result = None
        except BaseException as raised:
            if is_interrupt(raised) or (is_own and ends_program(raised)):
                request.exits = True
                self._tell_before_the_end(request, raised)
                self._session.finish(request)
                raise
            if self._loop.is_closed() or self._is_given_up(request, raised):
                self._session.finish(request)
                raise
            without_our_frame(raised)
            return None, raised
        return result, None

    def _is_given_up(self, request: ServedCall, raised: BaseException) -> bool:
        """Whether the task was cancelled because nobody wants its answer."""
        return issubclass(type(raised), asyncio.CancelledError) and (request.cancelled or self._link.ended is not None)

    async def _answer(self, request: ServedCall, result: object, failed: BaseException | None) -> None:
        request.context = copy_context()  # with what the coroutine has set
        if failed is not None:
            self._settle_failure(request, failed)
            self._session.finish(request)
        elif request.cancelled or self._link.ended is not None or not request.id:
            self._drop(request, result)
        elif not self._refuse_unfinished(request, result):
            self._respond_in_the_end(request, result)
        elif streams.is_async_stream(result):
            await self._close_async(request, result)

    def _settle_failure(self, request: ServedCall, failed: BaseException) -> None:
        if self._link.ended is not None:
            request.cancelled = True
        super()._settle_failure(request, failed)

    def _waker(self, request: ServedCall, task: asyncio.Task[Any] | None) -> Callable[[], None]:
        def wake() -> None:
            waiter = self._credit_waiters.get(request.id)
            if request.cancelled:
                if task is not None and not self._loop.is_closed():
                    task.cancel()
            elif waiter is not None and not waiter.done():
                waiter.set_result(None)

        return wake

    async def _send_items(self, request: ServedCall, iterable: AsyncIterable[Any]) -> None:
        """Send what an asynchronous iterable gives, no further ahead than credit and room allow. A stream that is
        broken off by an item that cannot be sent is answered here.
        """
        iterator = aiter(iterable)
        try:
            sent = 0
            while await self._send_next(request, iterator):
                sent += 1
                if sent % ITEMS_PER_TURN == 0:
                    await asyncio.sleep(0)
        finally:
            await self._close_async(request, iterator)

    async def _send_next(self, request: ServedCall, iterator: AsyncIterator[Any]) -> bool:
        """False: it was the last."""
        await self._wait_for_credit(request)
        await self._caller.wait_for_room(request.method, math.inf)
        try:
            # Without a default: with one, CPython 3.11 awaits what is no coroutine anew in each step, without end.
            value = await anext(iterator)
        except StopAsyncIteration:
            return False
        if request.cancelled:
            return False
        if not self.post_item(request, value):
            return False
        self._caller.wake_up()
        return True

    async def _close_async(self, request: ServedCall, iterator: Any) -> None:
        """Have its `finally` blocks run, if it has any. What they raise is nobody's to be told."""
        try:
            closing = getattr(iterator, "aclose", None)
            if closing is not None:
                await closing()
        except BaseException as failed:
            if is_interrupt(failed) or self._is_given_up(request, failed):
                raise
            log_raised(logging.ERROR, "closing the stream of %s raised", request.method, raised=failed)

    async def _wait_for_credit(self, request: ServedCall) -> None:
        while request.credit <= 0:
            self._credit_waiters[request.id] = self._loop.create_future()
            try:
                await self._credit_waiters[request.id]
            finally:
                del self._credit_waiters[request.id]
