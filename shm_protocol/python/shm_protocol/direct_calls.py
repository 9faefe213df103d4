"""The quick way for calls, _direct_calls.pyx, and what stands in for it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final, Protocol

from .session import Session
from .transports.transport import MessageTransport

__all__ = ["DirectCaller", "Unfinished", "call_nothing", "compile_call", "direct_calls"]

try:
    from ._binding import Channel
    from ._direct_calls import DirectCalls, Unfinished, compile_call
except ImportError:
    # The socket transport does without anything compiled.
    class Unfinished:  # type: ignore[no-redef]  # one of the two
        """What a call has come to where it has no result yet.

        sent: the request is in the transport, perhaps in part; False: nothing of it, so go the long way. message: what
        has been received instead of the answer, and not looked at. began: seconds of time.monotonic().
        """

        sent = False
        message: bytes | None = None
        began = 0.0

    Channel = None  # type: ignore[assignment, misc]  # as above

    def compile_call(
        client_class: type[Any], being_served: ContextVar[Any], stale: type[Exception], default_timeout: float
    ) -> None:
        """Give a class a compiled method `call` in place of its own, which it goes to for whatever is not usual.

        Python makes a dictionary for keyword arguments that are not given. being_served: of current_call.py. stale:
        raised where nothing was sent. default_timeout: seconds.
        """


class DirectCaller(Protocol):
    """Makes the calls of one connection."""

    def call(self, call_id: int, method: str, args: Sequence[Any], timeout: float, told: bool, /) -> Any:
        """The result of a call, or an Unfinished: see DirectCalls.call."""
        ...

    def answer(self, request_id: int, result: object, /) -> bool | None:
        """Whether the response is published, or None: see DirectCalls.answer."""
        ...

    @property
    def sent(self) -> int:
        """The id of the last request that is in the transport, perhaps in part."""
        ...


class _LongWay:
    """Leaves every call to the connection."""

    sent: Final = 0
    _unfinished: Final = Unfinished()

    def call(self, call_id: int, method: str, args: Sequence[Any], timeout: float, told: bool) -> Unfinished:
        """Nothing is sent."""
        return self._unfinished

    def answer(self, request_id: int, result: object) -> None:
        """Nothing is sent."""


call_nothing: Final = _LongWay().call
"""Leaves every call to the connection."""


def direct_calls(transport: MessageTransport, session: Session, stale_after_s: float) -> DirectCaller:
    """The quickest way for calls over `transport`."""
    if Channel is None or not isinstance(transport, Channel):
        return _LongWay()
    under_way = (session.pending, session.queue, session.flowing, session.replies)
    return DirectCalls(transport, session.encoder, under_way, stale_after_s)
