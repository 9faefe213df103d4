"""Awaiting what user code gives, so that its task always goes on.

A task looks at what its coroutine waits for outside of the coroutine, where no `except` sees what that does: asyncio
reports what is raised there and never resumes the task, and a SystemExit ends the loop. So it is looked at here first,
and what is raised is thrown into whoever waits.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from .exits import is_interrupt
from .options import shown

T = TypeVar("T")


@coroutine
def vetted(awaiting: Coroutine[Any, Any, T], after_step: Callable[[], None]) -> Generator[Any, None, T]:
    """Await a coroutine in the current task. RuntimeError is raised in it where it waits for what asyncio cannot.

    after_step: called whenever it waits, and when it has ended.
    """
    go_on = resume = functools.partial(awaiting.send, None)
    while True:
        try:
            awaited = resume()
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # as the coroutine's type says
        finally:
            # What has been thrown is kept by no name: it refers to this frame.
            resume = go_on
            after_step()
        try:
            future, refusal = _future_for(awaited), None
        except BaseException as failed:  # noqa: BLE001  # thrown below
            # In the next turn of the loop, or what catches it and tries again would hold everybody.
            future, refusal = None, failed if is_interrupt(failed) else _refusal(awaited, failed)
        del awaited
        try:
            yield future
        except BaseException as thrown:  # noqa: BLE001  # passed on
            refusal = thrown
        if refusal is not None:
            resume = functools.partial(awaiting.throw, refusal)
        del future, refusal


def _future_for(awaited: Any) -> asyncio.Future[Any] | None:
    """What the task is to wait for. Raises whatever the object does that it has been given."""
    kind = type(awaited)
    # Of these asyncio asks nothing that could be another's code.
    if awaited is None or kind is asyncio.Future or kind is asyncio.Task:
        return awaited  # type: ignore[no-any-return]  # see above
    return _StandIn(awaited)


def _refusal(awaited: object, failed: BaseException) -> RuntimeError:
    refusal = RuntimeError(f"asyncio cannot wait for {shown(awaited)}")
    refusal.__cause__ = failed
    return refusal


class _StandIn(asyncio.Future[None]):
    """Waits for a future of another class, as a task would, and is waited for in its place."""

    def __init__(self, awaited: Any) -> None:
        """Raises TypeError for what is no future, and whatever `awaited` does."""
        loop = asyncio.get_running_loop()
        super().__init__(loop=loop)
        if not getattr(awaited, "_asyncio_future_blocking", None):
            raise TypeError("it is no future that was awaited")
        if awaited.get_loop() is not loop:
            raise RuntimeError("it is attached to another loop")
        awaited._asyncio_future_blocking = False  # noqa: SLF001  # a task's part in it
        awaited.add_done_callback(self._wake)
        self._cancel_awaited: Callable[..., bool] = awaited.cancel
        self._asyncio_future_blocking = True

    def _wake(self, _: object) -> None:
        # Who has awaited it asks it for its result.
        if not self.done():
            self.set_result(None)

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel what is waited for; where it raises, no longer wait for it."""
        try:
            return bool(self._cancel_awaited(msg=msg))
        except BaseException as failed:
            if is_interrupt(failed):
                raise
            return super().cancel(msg)
