"""A worker in an asyncio program: answers TypeScript's calls beside whatever else the loop does."""

from __future__ import annotations

import asyncio
import functools
import os
from types import TracebackType
from typing import Final, Self

from . import config, dialing, handshake
from .backoff import Backoff
from .client_asyncio import AsyncClient, connect_async
from .decorated import exposables_of
from .errors import Busy, CallTimeout, ConnectionClosed, PeerGone, PeerUnavailable, name_of, text_of
from .exposables import Exposables
from .exposed import Exposed
from .log import logger
from .worker import LEAVE_TIMEOUT_S


async def serve_async(
    path: str | os.PathLike[str] | None = None,
    *,
    expose: Exposables | None = None,
    transport: str | None = None,
    name: str | None = None,
    timeout: float = handshake.HANDSHAKE_TIMEOUT_S,  # noqa: ASYNC109  # of the handshake, kept by the thread
    max_message: int | None = None,
    ring_capacity: int | None = None,
    leave_timeout: float = LEAVE_TIMEOUT_S,
) -> None:
    """Be a worker until the task is cancelled. Where nobody listens, or Node ends, dial again after a while.

    Cancelled, it tells Node that it leaves and answers what Node had called before, within leave_timeout seconds, and
    is cancelled then. Cancelled once more, or with its loop, it ends at once. See AsyncWorker for one that is stopped.

    Arguments and errors as serve(), with coroutine functions and asynchronous generators as connect_async() takes them.
    """
    await AsyncWorker(
        path,
        expose=expose,
        transport=transport,
        name=name,
        timeout=timeout,
        max_message=max_message,
        ring_capacity=ring_capacity,
        leave_timeout=leave_timeout,
    ).serve()


class AsyncWorker:
    """Answers TypeScript's calls in an event loop: in the task that awaits serve(), or beside an `async with`.

        async with shm_protocol.AsyncWorker(expose={"ml": ml}):  # e.g. in FastAPI's lifespan
            yield

    Arguments as serve_async(), and what they may raise. It belongs to the loop that it serves in. One that has stopped
    is at its end: make another. attached: whether there is a connection to Node now. closed: it has stopped.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        expose: Exposables | None = None,
        transport: str | None = None,
        name: str | None = None,
        timeout: float = handshake.HANDSHAKE_TIMEOUT_S,
        max_message: int | None = None,
        ring_capacity: int | None = None,
        leave_timeout: float = LEAVE_TIMEOUT_S,
    ) -> None:
        self._leave_timeout: Final = dialing.checked_seconds("leave_timeout", leave_timeout)
        dialing.checked_options(name, timeout)
        settings = config.read_settings(path, transport=transport, ring_capacity=ring_capacity, max_message=max_message)
        exposables = exposables_of(expose)
        # What connect_async would refuse is refused before anything is dialed.
        Exposed(exposables, has_loop=True)
        self._path: Final = settings.path
        self._connect: Final = functools.partial(
            connect_async,
            path,
            transport=transport,
            name=name,
            timeout=timeout,
            expose=exposables,
            max_message=max_message,
            ring_capacity=ring_capacity,
            role="worker",
        )
        self._stopping: Final = asyncio.Event()
        self._has_tried: Final = asyncio.Event()
        self._has_begun = False
        self._has_ended = False
        self._client: AsyncClient | None = None
        self._task: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Serve until stop(), then return; or until the task is cancelled, which is heard as stop() is. Where nobody
        listens, or Node ends, dial again after a while.

        Raises VersionMismatch, ProtocolError when something else listens there, and RuntimeError where it serves
        already or has stopped.
        """
        if self._has_begun:
            raise RuntimeError(f"{self!r}: it {'has stopped; make another' if self._has_ended else 'serves already'}")
        self._has_begun = True
        try:
            await self._dial_and_serve()
        finally:
            self._has_ended = True
            self._has_tried.set()

    def stop(self) -> None:
        """Have it stop: Node is told that the worker leaves and calls another, what it had called before is answered,
        within leave_timeout seconds, and serve() returns. Returns at once.

        In the loop's thread, an exposed function of its included; elsewhere `loop.call_soon_threadsafe(worker.stop)`.
        Safe to call twice.
        """
        self._stopping.set()

    async def close(self) -> None:
        """stop(), and wait until it has stopped. Raises what has ended it. Safe to call twice.

        In a function that it serves, do no more than stop(): it would wait for its own end.
        """
        self.stop()
        task, self._task = self._task, None
        if task is not None:
            await task

    @property
    def attached(self) -> bool:
        """Whether there is a connection to Node now."""
        return self._client is not None

    @property
    def closed(self) -> bool:
        """Whether it has stopped."""
        return self._has_ended

    async def __aenter__(self) -> Self:
        """Begin. The first attempt to dial is waited for, whether Node is there or not."""
        task = self._task = asyncio.create_task(self.serve())
        task.add_done_callback(self._log_failure)
        try:
            await self._has_tried.wait()
        except asyncio.CancelledError:
            task.cancel()
            raise
        if self._has_ended:
            await self.close()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "attached" if self.attached else "not attached"
        return f"<AsyncWorker at {self._path}, {state}>"

    def _log_failure(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("%r ends: %s: %s", self, name_of(type(error)), text_of(error))

    async def _dial_and_serve(self) -> None:
        backoff = Backoff()
        complaint = ""
        while not self._stopping.is_set():
            try:
                client = await self._connect()
                backoff.reset()
                complaint = ""
                await self._serve(client)
            except (PeerUnavailable, PeerGone, Busy) as error:
                # Once, not at every attempt.
                if str(error) != complaint:
                    complaint = str(error)
                    logger.warning("%s; dialing again until it succeeds", complaint)
                self._has_tried.set()
                await self._pause(backoff.next())

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            pass

    async def _serve(self, client: AsyncClient) -> None:
        """Until it is stopped or cancelled. Raises why the connection has ended, if it has before."""
        self._client = client
        self._has_tried.set()
        ended, stopping = asyncio.create_task(client.wait_closed()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ended.result()
            await self._leave(client)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                await self._leave(client)
            raise
        finally:
            self._client = None
            ended.cancel()
            stopping.cancel()
            client.close()

    async def _leave(self, client: AsyncClient) -> None:
        try:
            await client.leave(self._leave_timeout)
        except CallTimeout as error:
            logger.warning("calls are left unanswered: %s", error)
        except (PeerGone, ConnectionClosed) as error:
            logger.info("Node has ended before the worker had left: %s", error)
