"""The thread of a child that has an event loop: what is to be awaited is served there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
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
        threading.Thread(target=self._loop.run_forever, name="shm-polyglot loop", daemon=True).start()

    def expose(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Serve these as well. When this returns, Node knows of them."""
        done: Future[None] = asyncio.run_coroutine_threadsafe(self._expose(functions), self._loop)
        done.result()

    async def _expose(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        if self._client is None:
            self._client = await connect_async(self._path, role="worker", name="python child, loop", expose=functions)
        else:
            self._client.expose(functions)
        # What comes on a connection comes in order: after the answer the names have been heard.
        await self._client.call(METHOD)
