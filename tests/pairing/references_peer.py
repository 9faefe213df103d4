"""The Python side of the tests of callbacks and handles, as a worker."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import shm_protocol

held: list[Any] = []
seen: list[Any] = []


class Model:
    """An object that stays here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0

    def predict(self, text: str) -> str:
        """Has a state."""
        self.calls += 1
        return f"{self.name} {self.calls}: {text}"

    def child(self) -> Model:
        """An object again."""
        return Model(f"{self.name}'s child")

    def itself(self) -> Model:
        """The very object."""
        return self

    def items(self, to: int) -> Iterator[int]:
        """A stream."""
        yield from range(to)

    def children(self, to: int) -> Iterator[Model]:
        """A stream of objects."""
        for number in range(to):
            yield Model(str(number))

    def _secret(self) -> None:
        """Not to be called."""


MODEL = Model("the model")


def make(name: str) -> Model:
    """An object that is no value."""
    return Model(name)


def model() -> Model:
    """Always the same."""
    return MODEL


def is_model(value: Any) -> bool:
    """Whether it is that very one."""
    return value["deep"][0] is MODEL


def lend_and_ask(method: str) -> Any:
    """Pass a function of this side's, which the other side gives back."""

    def own() -> str:
        return "own"

    call = shm_protocol.current_call()
    assert call is not None
    return call.connection.call(method, own) is own


def function() -> Callable[[int], int]:
    """A function as a result."""
    return lambda number: number + 1


def apply(function: Any, *args: Any) -> Any:
    """Call it."""
    return function(*args)


def apply_named(function: Any) -> Any:
    """Call it with keyword arguments."""
    return function(locale="de")


def each(function: Any, to: int) -> list[Any]:
    """Call it many times."""
    return [function(number) for number in range(to)]


def collect(function: Any, to: int) -> list[Any]:
    """Read it."""
    return list(function.stream(to))


def keep(function: Any, *, hold: bool = False) -> None:
    """Keep it without a word."""
    held.append(function)


def hold(function: Any) -> None:
    """Keep it."""
    held.append(function.hold())


def call_kept(*args: Any) -> Any:
    """Call what has been kept."""
    return held[-1](*args)


def call_kept_in_thread(*args: Any) -> Any:
    """The same in a thread of its own."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(held[-1](*args))
        except Exception as error:
            outcome.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


def forget() -> None:
    """Let go of all, as a collector does."""
    held.clear()
    gc.collect()


def release() -> None:
    """Let go of it by name."""
    held[-1].release()


def each_later(function: Any, to: int) -> Iterator[Any]:
    """A stream that calls it."""
    for number in range(to):
        yield function(number)


def table() -> dict[str, int]:
    """What there is of the other side's, and of this one's."""
    call = shm_protocol.current_call()
    assert call is not None
    lending = call.connection.link.session.lending  # type: ignore[attr-defined]
    return {"lent": len(lending.lent), "held": len(lending.held)}


def blocks() -> int:
    """What is not free, in blocks."""
    gc.collect()
    return sys.getallocatedblocks()


FUNCTIONS = {
    function.__name__: function
    for function in (
        *(apply, call_kept, call_kept_in_thread, collect, each, each_later, forget, function, hold, is_model),
        *(apply_named, blocks, keep, lend_and_ask, make, model, release, table),
    )
}

if __name__ == "__main__":
    shm_protocol.serve(expose={"py": FUNCTIONS, "model": MODEL}, name=sys.argv[1])
