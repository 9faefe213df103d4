"""A call while it is under way: one of ours that waits for its answer, one of the peer's that is served.

What becomes of them is session.py's to know, and what they run serving.py's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context
from typing import Any, Protocol

from .errors import BridgeError
from .references import Lent, RemoteReference


class PendingCall:
    """A call of ours that waits for its answer. `items` is None unless it asked for a stream.

    lent: ids of the functions that have been lent for it. wake: called when its answer or an item has come, where
    whoever waits does not look by itself. It must not raise.
    """

    __slots__ = ("credit", "done", "error", "id", "items", "lent", "method", "result", "wake")

    def __init__(self, call_id: int, method: str, credit: int) -> None:
        self.id = call_id
        self.method = method
        self.credit = credit  # items the peer may still send
        self.items: deque[Any] | None = deque() if credit else None
        self.lent: Sequence[int] = ()
        self.done = False
        self.result: Any = None
        self.error: BridgeError | None = None
        self.wake: Callable[[], None] | None = None


class EndingSpan(Protocol):
    """See tracing.Span."""

    def fail(self, raised: BaseException) -> None:
        """It ends with an exception."""

    def end(self) -> None:
        """It has ended."""


class ServedCall:
    """A call of the peer's. `id` is 0 for a notification. `iterator` is set once it has become a stream.

    wake: called when it is cancelled or granted credit while it runs, where whoever serves it does not look by itself.
    It must not raise.
    """

    # Defaults in the class: most requests set none of them, and each is a store less per call.
    deadline = math.inf
    nested_until: float | None = None  # when the calls it makes must have ended; None: not known yet
    within = 0  # the call of ours that it was made for
    chain: Sequence[str] = ()
    traceparent: str | None = None
    kwargs: dict[str, Any] | None = None  # keyword arguments
    credit = 0  # items we may still send
    wants_stream = False
    iterator: Iterator[Any] | None = None
    is_own_stream = False  # a generator of the function's
    wants_handles = False
    references: Sequence[RemoteReference] = ()  # to functions of the caller's that are arguments
    is_stale = False  # an argument of it has been released
    unreadable: str | None = None  # why an argument of it cannot be given to the function
    lingers = False  # it wants a stream, has references, or is traced: there is more to do than to answer
    span: EndingSpan | None = None  # of OpenTelemetry's
    lent: tuple[Lent, str] | None = None  # what it calls, where that has been lent, and the name of its method
    context: Context | None = None  # what its function runs in
    running = False
    awaited = False  # what its function gave has a task
    cancelled = False
    exits = False  # its function has ended the program
    wake: Callable[[], None] | None = None

    def __init__(self, request_id: int, method: str, args: list[Any], size: int) -> None:
        self.id = request_id
        self.method = method
        self.args = args
        self.size = size  # bytes of the message it came in
