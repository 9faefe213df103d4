"""The thread of a child that has an event loop: what is to be awaited is served there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from typing import Any, Final

from .client_asyncio import AsyncClient, connect_async
from .counters import METHOD


class ChildLoop:
    """A connection of its own, which Node takes for a worker that has just these functions."""

    def __init__(self, path: str) -> None:
        self._path: Final = path
        self._loop: Final = asyncio.new_event_loop()
        self._client: AsyncClient | None = None
        self._exposed: Final[dict[str, Callable[..., Any]]] = {}
        threading.Thread(target=self._loop.run_forever, name="shm-polyglot loop", daemon=True).start()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """What runs in the thread."""
        return self._loop

    @property
    def names(self) -> AbstractSet[str]:
        """What is exposed here."""
        return self._exposed.keys()

    def expose(self, functions: Mapping[str, Callable[..., Any]], gone: Iterable[str]) -> None:
        """Serve these as well, or in place of others of their names, and what is gone no more. When this returns, Node
        knows of them.
        """
        done: Future[None] = asyncio.run_coroutine_threadsafe(self._expose(functions, gone), self._loop)
        done.result()

    def waiting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A plain function that does the same from another thread."""

        def wait(*args: Any, **kwargs: Any) -> Any:
            given = function(*args, **kwargs)
            return self.items(given) if isinstance(given, AsyncGenerator) else self._result(given)

        return wait

    def items(self, items: AsyncIterable[Any]) -> Iterator[Any]:
        """What an asynchronous iterable gives, for another thread, which waits for each."""
        iterator = aiter(items)
        try:
            while True:
                try:
                    yield self._result(anext(iterator))
                except StopAsyncIteration:
                    return
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                self._result(close())

    def _result(self, awaitable: Awaitable[Any]) -> Any:
        async def result() -> Any:
            return await awaitable

        done: Future[Any] = asyncio.run_coroutine_threadsafe(result(), self._loop)
        return done.result()

    async def _expose(self, functions: Mapping[str, Callable[..., Any]], gone: Iterable[str]) -> None:
        if self._client is None:
            self._client = await connect_async(self._path, role="worker", name="python child, loop", expose=functions)
        else:
            self._client.exchange(functions, gone)
        self._exposed.update(functions)
        for name in gone:
            self._exposed.pop(name, None)
        # What comes on a connection comes in order: after the answer the names have been heard.
        await self._client.call(METHOD)
