"""A stream's two ends: what its caller iterates over, and how what a function gives is told from a value."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, Awaitable, Iterable, Iterator, Sized
from time import monotonic
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Final, Protocol, Self

from .calls import PendingCall
from .errors import CallTimeout
from .exits import is_interrupt

END: Final = object()
"""What an iterator gives at its end."""


class StreamCaller(Protocol):
    """What a stream needs of the connection that it comes by."""

    @property
    def closed(self) -> bool: ...
    def require_owner(self) -> None: ...
    def advance(self, deadline: float, waiting: PendingCall) -> bool: ...
    def grant(self, call: PendingCall, items: int) -> None: ...
    def give_up(self, call: PendingCall) -> None: ...
    def abandon(self, call_id: int, method: str, error: BaseException) -> None: ...


class Stream(Iterator[Any]):
    """What a stream gives, item by item. Made by Connection.stream and Client.stream.

    Iterating raises what the function raised, CallTimeout, PeerGone, and TypeError if the function gives no stream.
    """

    def __init__(self, caller: StreamCaller, call: PendingCall, deadline: float, seconds: float, credit: int) -> None:
        self._caller = caller
        self._call = call
        self._deadline = deadline
        self._seconds = seconds
        # In halves: granting each item would double the messages, granting all at the end would stall the sender.
        self._grant_after = max(1, credit // 2)
        self._taken = 0
        self._finished = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._finished:
            raise StopIteration
        caller, call = self._caller, self._call
        items = call.items
        assert items is not None
        caller.require_owner()
        try:
            # Also where items are here: a peer that is always ahead would hold the deadline off for ever.
            while not call.done and (not items or monotonic() >= self._deadline):
                if not caller.advance(self._deadline, call) and not call.done:
                    raise CallTimeout(f"{call.method}: the stream did not end within {self._seconds:g} s")
            if items:
                return self._take(items)
        except BaseException as error:
            self._finished = True
            caller.abandon(call.id, call.method, error)
            raise
        self._finished = True
        if call.error is not None:
            raise call.error
        if call.result is not None:
            raise TypeError(f"{call.method} gave a value, not a stream: use call()")
        raise StopIteration

    def close(self) -> None:
        """Want no more. The peer is told, and its iterator closed. Safe to call twice."""
        if self._finished:
            return
        self._caller.require_owner()
        self._finished = True
        self._caller.give_up(self._call)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, items: deque[Any]) -> Any:
        item = items.popleft()
        self._taken += 1
        if self._taken >= self._grant_after and not self._call.done:
            self._caller.grant(self._call, self._taken)
            self._taken = 0
        return item


# The producing side. Kinds are told by the type alone: to ask the object would run code of its own.

_MRO: Final[Any] = vars(type)["__mro__"]
_NAMESPACE: Final[Any] = vars(type)["__dict__"]


def is_stream(value: object) -> bool:
    """Whether a function gives its answer in items: an iterable that is no sized collection."""
    kind = type(value)
    return _is_of(kind, Iterable, "__iter__") and not _is_of(kind, Sized, "__len__")


def is_async_stream(value: object) -> bool:
    """Whether it gives them to `async for`."""
    return _is_of(type(value), AsyncIterable, "__aiter__")


def is_awaitable(value: object) -> bool:
    """Whether the answer is still to be awaited."""
    return _is_of(type(value), Awaitable, "__await__")


def is_coroutine(value: object) -> bool:
    """Whether it would be reported as never awaited."""
    return issubclass(type(value), CoroutineType)


def runs_function(value: object) -> bool:
    """Whether to go on with it runs the body of a function, not the code of an object that it gave."""
    return issubclass(type(value), GeneratorType | CoroutineType | AsyncGeneratorType)


def _is_of(kind: type, abstract: type, method: str) -> bool:
    """Whether a type is of an abstract one, which is whatever has `method`."""
    try:
        return issubclass(kind, abstract)
    except BaseException as failed:
        if is_interrupt(failed):
            raise
        # The abstract types keep what they know by the hash of a type: a metaclass with `__eq__` alone has none.
        namespaces = (_NAMESPACE.__get__(base) for base in _MRO.__get__(kind))
        return next((names[method] for names in namespaces if method in names), None) is not None


def close(value: Any) -> None:
    """Have a stream's `finally` blocks run, if it has any. Raises whatever it raises."""
    closing = getattr(value, "close", None)
    if closing is not None:
        closing()
