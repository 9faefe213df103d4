"""What a served function may ask about the call that it serves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

from .calls import ServedCall
from .options import DEFAULT_CREDIT, DEFAULT_TIMEOUT_S
from .streams import Stream


class Caller(Protocol):
    """What a served function calls back on: the connection that its call came by."""

    owner: int

    @property
    def path(self) -> Path: ...
    @property
    def closed(self) -> bool: ...
    def heed(self) -> bool: ...
    def call(
        self,
        method: str,
        *args: Any,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Any: ...
    def stream(
        self,
        method: str,
        *args: Any,
        timeout: float | None = None,
        credit: int = DEFAULT_CREDIT,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Stream: ...
    def notify(
        self,
        method: str,
        *args: Any,
        traceparent: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None: ...
    def call_with(
        self,
        method: str,
        args: Sequence[Any],
        timeout: float | None,
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
        *,
        handles: bool = False,
    ) -> Any: ...
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
    ) -> Stream: ...
    def notify_with(
        self,
        method: str,
        args: Sequence[Any],
        traceparent: str | None,
        keywords: dict[str, Any] | None = None,
    ) -> None: ...


class CurrentCall:
    """The call of the peer's that is being served.

    connection: the one it came by; calls made while serving go back on it.
    """

    __slots__ = ("_request", "connection")

    def __init__(self, connection: Caller, request: ServedCall) -> None:
        self.connection: Final = connection
        self._request: Final = request

    @property
    def method(self) -> str:
        """The name it was called by."""
        return self._request.method

    @property
    def chain(self) -> Sequence[str]:
        """The methods being served above it, outermost first."""
        return self._request.chain

    @property
    def traceparent(self) -> str | None:
        """W3C trace context."""
        return self._request.traceparent

    @property
    def remaining(self) -> float | None:
        """Seconds the caller will still wait, or None where it did not say. Not below 0."""
        deadline = self._request.deadline
        return None if deadline == math.inf else max(0.0, deadline - monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the answer is still wanted: True once the caller has cancelled or given up, is gone, or its deadline
        has passed. A function that takes long asks it now and then, and returns early.

        Asking looks at what has arrived on the connection, which takes about a microsecond. In another thread than the
        one that runs the function nothing is looked at: it is told what that one, or the event loop, has seen.
        """
        request = self._request
        if request.cancelled or monotonic() >= request.deadline:
            return True
        # Afterwards, whoever uses the connection reads it.
        return (request.running and not self.connection.heed()) or request.cancelled


Served = tuple[Caller, ServedCall]

being_served: Final[ContextVar[Callable[[], Served | None] | None]] = ContextVar(
    "shm_protocol.being_served", default=None
)
"""Tells the call that is served in this context. A connection that serves one call inside the other sets it once: to
set it for each call would cost more than all else that a fresh context does.
"""


def current_call() -> CurrentCall | None:
    """The call being served in this context, or None outside of an exposed function.

    A thread that a plain (not an asyncio) function has started serves no call, even if it runs in a copy of the
    context: it may outlive the call. Give it what it has to know.
    """
    served = served_here()
    return None if served is None else CurrentCall(*served)


def served_here() -> Served | None:
    """What the current call is made of."""
    tell = being_served.get()
    return None if tell is None else tell()
