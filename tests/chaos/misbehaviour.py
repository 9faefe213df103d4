"""Functions that misbehave in every way a user's code can, and what is promised to those who call them.

misbehaviour.ts is the same in TypeScript. What a question is answered with is chosen by its number, so the one who asks
knows what may come of it.
"""

from __future__ import annotations

import asyncio
import decimal
import itertools
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final, NoReturn, Protocol, TypeVar

import shm_protocol
from shm_protocol import CallTimeout, EncodeError, MessageTooLarge, RemoteError

from .questions import TIMEOUT_S, token

WAYS: Final = ("raises", "returns", "streams", "sleeps", "overflows")
"""The names of the functions, and of the lanes that ask them."""

SHORT_S: Final = 0.2
LONGEST_SLEEP_S: Final = 0.1
TAKEN: Final = 20
"""Of a stream, at most, before it is closed."""

TINY: Final = 1024
"""The smallest limit that may be set for a message."""

TOLD: Final = (RemoteError, EncodeError, MessageTooLarge)
"""What the caller of a function that misbehaves is told. Anything else is a fault: the function is to blame."""

Case = TypeVar("Case")

_TURN: Final = threading.Lock()


class Caller(Protocol):
    """A client, or whatever calls as one does."""

    def call(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        """As Client.call."""

    def stream(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        """As Client.stream."""


def ask(caller: Caller, way: str, question: int) -> bool:
    """Asks a function that misbehaves, and tells whether what came of it is as promised.

    Raises what the call raises if that blames anybody but the function.
    """
    if way == "streams":
        return _read_stream(caller, question)
    try:
        answer = caller.call(f"misbehaving.{way}", question, timeout=_patience(way, question))
    except TOLD:
        return way != "sleeps"
    except CallTimeout:
        if _patience(way, question) == SHORT_S:
            return True
        raise
    return way in ("returns", "overflows") or (way == "sleeps" and bool(answer == token(question)))


def _patience(way: str, question: int) -> float:
    """Some give up before the function is done."""
    return SHORT_S if way == "sleeps" and question % 4 == 0 else TIMEOUT_S


def _read_stream(caller: Caller, question: int) -> bool:
    """Some read to the end, some close early, some take no stream where there is one."""
    if question % 5 == 0:
        try:
            caller.call("misbehaving.streams", question, timeout=TIMEOUT_S)
        except TOLD:
            return True
        return False
    try:
        with caller.stream("misbehaving.streams", question, timeout=TIMEOUT_S) as items:
            taken = list(itertools.islice(items, 1 + question % TAKEN))
    except TOLD:
        return True
    return taken == [token(question + number) for number in range(len(taken))]


# What raises when it is looked at.


class Foreign(BaseException):
    """Of a library that does not derive from Exception."""


HOOK_ERRORS: Final = (ValueError, KeyError, RecursionError, asyncio.CancelledError, GeneratorExit, SystemExit, Foreign)


def _refuse(*_: object) -> NoReturn:
    raise random.choice(HOOK_ERRORS)("a hook")


class Unspeakable(Exception):
    """Raises whatever is asked of it."""

    __str__ = __repr__ = __reduce__ = _refuse
    args = property(_refuse)
    data = property(_refuse)
    __notes__ = property(_refuse)


class NoName(type):
    """Of classes that tell nothing of themselves."""

    __getattribute__ = _refuse


class Nameless(Exception, metaclass=NoName):
    """Its type raises when it is asked for its name."""


class Short(dict[str, int]):
    """Has other items than its length says."""

    def items(self) -> Any:
        return [("a", 1), ("b", 2), ("c", 3)]


class Failing(dict[str, int]):
    """Cannot be walked through."""

    items = keys = values = __iter__ = _refuse


class Long(list[int]):
    """Never ends, whatever its length."""

    def __iter__(self) -> Iterator[int]:
        return itertools.count()


class Opaque:
    """Lets nobody look at anything."""

    __getattr__ = __repr__ = __str__ = __bool__ = __len__ = __iter__ = __eq__ = _refuse
    __hash__ = None  # type: ignore[assignment]


class NoOffset(tzinfo):
    """A zone that does not know itself."""

    utcoffset = dst = tzname = _refuse


def _cycle() -> list[Any]:
    made: list[Any] = []
    made.append({"self": made})
    return made


def _deep(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def _released() -> memoryview:
    view = memoryview(bytearray(8))
    view.release()
    return view


def _dead() -> object:
    return weakref.proxy(type("Gone", (), {})())


async def _later() -> int:
    return 1


def _coroutine() -> object:
    made = _later()
    made.close()
    return made


def _linked(error: BaseException) -> BaseException:
    other = Unspeakable("the cause")
    other.__cause__, error.__cause__ = error, other
    return error


ERRORS: Final[Sequence[Callable[[], BaseException]]] = (
    Unspeakable,
    Nameless,
    Foreign,
    GeneratorExit,
    StopIteration,
    asyncio.CancelledError,
    lambda: _linked(ValueError("its cause is caused by it")),
    lambda: BaseExceptionGroup("a group", [Unspeakable(), Foreign(), ValueError("plain")]),
    lambda: SyntaxError("odd", ("file", "no number", object(), 7)),  # type: ignore[arg-type]
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "\ud800 in its reason"),
    lambda: KeyError(Opaque()),
    lambda: ValueError("x" * 3_000_000),
    lambda: ValueError("\ud800"),
)

VALUES: Final[Sequence[Callable[[], object]]] = (
    Opaque,
    lambda: Short(a=1),
    lambda: Failing(a=1),
    lambda: Long([1, 2]),
    lambda: {"deep": [Opaque()]},
    lambda: {Opaque.__name__: {1: {(): {}}}},
    _cycle,
    lambda: _deep(5000),
    _released,
    _dead,
    _coroutine,
    lambda: datetime(2026, 1, 1, tzinfo=NoOffset()),
    lambda: 2**200,
    lambda: "\udc80",
    lambda: decimal.Decimal("NaN"),
    lambda: float("nan"),
    lambda: {1, 2},
    lambda: ask,
    lambda: Unspeakable(),
    lambda: (number for number in range(3)),
)


def _chosen(cases: Sequence[Callable[[], Case]], question: int) -> Case:
    return cases[question % len(cases)]()


def raises(question: int) -> None:
    """Raises what cannot be told of."""
    raise _chosen(ERRORS, question)


def returns(question: int) -> object:
    """Returns what cannot be sent."""
    return _chosen(VALUES, question)


def streams(question: int) -> Iterator[object]:
    """Gives right items for some time; then raises, or gives what cannot be sent, or goes on; and ends badly."""
    good = question // 7 % 40
    try:
        for number in itertools.count():
            if number == good and question % 3 == 0:
                raise _chosen(ERRORS, question)
            if number == good and question % 3 == 1:
                yield Opaque()
            yield token(question + number)
    finally:
        if question % 2 == 0:
            time.sleep(0.01)
        if question % 11 == 0:
            raise Unspeakable


def sleeps(question: int) -> int:
    """Sleeps, or holds a lock while it asks the one who asked."""
    if question % 2 == 0:
        time.sleep(question % 97 / 97 * LONGEST_SLEEP_S)
        return token(question)
    current = shm_protocol.current_call()
    assert current is not None
    with _TURN:
        return int(current.connection.call("peer.answer", question, timeout=TIMEOUT_S))


def overflows(question: int) -> object:
    """Answers with more than its caller takes, or an error of that size, in many scripts."""
    text = ("x", "é", "漢", "\U0001f600")[question % 4] * (question // 4 % 3000)
    if question % 2:
        raise ValueError(text)
    return {"text": text}


MISBEHAVING: Final = {
    "misbehaving": {
        "raises": raises,
        "returns": returns,
        "streams": streams,
        "sleeps": sleeps,
        "overflows": overflows,
    }
}
"""What is exposed beside `peer`."""
