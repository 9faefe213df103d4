"""What a plain function of a child gives asynchronously, or a method of an object that one has given: it runs in the
loop beside the thread that serves, and is answered in that thread, which serves others meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from . import streams
from .between_calls import BetweenCalls
from .calls import ServedCall
from .child_loop import ChildLoop
from .connection import Connection
from .current_call import being_served
from .exits import is_interrupt, traceback_of
from .exposed import Answerer
from .serving import without_our_frame
from .streams import END

T = TypeVar("T")

Job = Callable[[], None]


class ChildServing:
    """Has them run. See exposed.Elsewhere."""

    def __init__(self, loop: ChildLoop, between: BetweenCalls, connection: Connection) -> None:
        self._loop: Final = loop
        self._between: Final = between
        self._connection: Final = connection

    def respond(self, serving: Answerer, request: ServedCall, result: Any) -> None:
        """Called in the thread that serves."""
        if not serving.is_waiting:
            self._begin(serving, request, result, self._between.add)
        elif streams.is_async_stream(result) and request.wants_stream:
            serving.settle(request, self._loop.items(result), None)
        else:
            # Whoever waits here looks at nothing but its connection.
            jobs: SimpleQueue[Job] = SimpleQueue()
            response = self._begin(serving, request, result, jobs.put)
            while not response.is_over:
                jobs.get()()

    def _begin(self, serving: Answerer, request: ServedCall, result: Any, give: Callable[[Job], None]) -> _Response:
        request.awaited = request.running = True
        response = _Response(self._loop.loop, give, serving, request)
        # What it has been given to call is called where its connection is, and awaited here.
        for reference in request.references:
            reference._caller = _Caller(response.in_serving, self._connection)  # noqa: SLF001
        served = (self._connection, request)
        assert request.context is not None, "its function has run"
        request.context.run(being_served.set, lambda: served)
        request.wake = response.look
        self._loop.loop.call_soon_threadsafe(response.start, result)
        return response


class _Response:
    """One of them. give: has a job done in the thread that serves. is_over: that thread has done with it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, give: Callable[[Job], None], serving: Answerer, request: ServedCall
    ) -> None:
        self.is_over = False
        self._loop: Final = loop
        self._give: Final = give
        self._serving: Final = serving
        self._request: Final = request
        self._looked: Final = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, result: Any) -> None:
        """In the loop."""
        self._task = self._loop.create_task(self._run(result), context=self._request.context)

    def look(self) -> None:
        """See calls.ServedCall.wake."""
        self._loop.call_soon_threadsafe(self._look)

    def _look(self) -> None:
        if self._request.cancelled and self._task is not None:
            self._task.cancel()
        self._looked.set()

    async def _run(self, result: Any) -> None:
        failed: BaseException | None = None
        try:
            if streams.is_awaitable(result):
                result = await result
            if streams.is_async_stream(result) and self._request.wants_stream:
                await self._send_items(result)
                result = None
        except BaseException as raised:  # noqa: BLE001  # the thread that serves knows what ends the program
            _let_begin_at_users(raised)
            failed, result = raised, None
        self._give(partial(self._settle, result, failed))

    async def _send_items(self, items: AsyncIterable[Any]) -> None:
        iterator = aiter(items)
        try:
            while True:
                await self._wait_for_credit()
                try:
                    # Without a default, as in serving_asyncio.py.
                    value = await anext(iterator)
                except StopAsyncIteration:
                    return
                if not await self.in_serving(partial(self._send_item, value)):
                    return
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    async def _wait_for_credit(self) -> None:
        while True:
            # First: what is granted from now on sets it.
            self._looked.clear()
            if self._request.credit > 0:
                return
            await self._looked.wait()

    async def in_serving(self, do: Callable[[], T]) -> T:
        """What `do` gives in the thread that serves."""
        done: asyncio.Future[T] = self._loop.create_future()

        def settle(given: T | None, failed: BaseException | None) -> None:
            if done.done():
                return
            if failed is None:
                done.set_result(given)  # type: ignore[arg-type]  # then it is one
            else:
                done.set_exception(failed)

        def job() -> None:
            try:
                given = do()
            except BaseException as raised:
                self._loop.call_soon_threadsafe(settle, None, raised)
                if is_interrupt(raised):
                    raise
            else:
                self._loop.call_soon_threadsafe(settle, given, None)

        self._give(job)
        return await done

    # In the thread that serves.

    def _send_item(self, value: Any) -> bool:
        return not self._request.cancelled and self._serving.post_item(self._request, value)

    def _settle(self, result: Any, failed: BaseException | None) -> None:
        self.is_over = True
        self._request.wake = None
        # Else it has been answered: an item could not be sent.
        if self._request.running:
            self._serving.settle(self._request, result, failed)


def _let_begin_at_users(raised: BaseException) -> None:
    while (trace := traceback_of(raised)) is not None and trace.tb_frame.f_code.co_filename == __file__:
        without_our_frame(raised)


class _Caller:
    """See references.ReferenceCaller. in_serving: has something done in the thread that the connection belongs to."""

    def __init__(self, in_serving: Callable[[Callable[[], Any]], Any], connection: Connection) -> None:
        self._in_serving: Final = in_serving
        self._connection: Final = connection

    async def call_reference(
        self,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        timeout: float | None,  # noqa: ASYNC109  # as references.ReferenceCaller has it
        *,
        handles: bool,
    ) -> Any:
        """To be awaited."""
        call = self._connection.call_reference
        return await self._in_serving(partial(call, method, args, kwargs, timeout, handles=handles))

    async def stream_reference(
        self,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        timeout: float | None,  # noqa: ASYNC109  # likewise
        credit: int,
        *,
        handles: bool,
    ) -> AsyncIterator[Any]:
        """To be iterated over so."""
        begin = self._connection.stream_reference
        items: Iterator[Any] = await self._in_serving(
            partial(begin, method, args, kwargs, timeout, credit, handles=handles)
        )
        try:
            while (item := await self._in_serving(partial(next, items, END))) is not END:
                yield item
        finally:
            await self._in_serving(partial(streams.close, items))

    def tell_references(self) -> None:
        """With what is sent next."""
        self._connection.tell_references()
