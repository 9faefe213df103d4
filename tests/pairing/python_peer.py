"""The Python side of the pairing tests, as a worker: functions that show what a call does."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import python_errors
import shm_protocol

noted: list[Any] = []
kept: list[Any] = []


class Refusal(Exception):
    """An application's own error, with data."""

    def __init__(self, message: str, data: object) -> None:
        super().__init__(message)
        self.data = data


def echo(value: Any) -> Any:
    """Give it back."""
    return value


def describe(value: Any) -> str:
    """What Python sees."""
    return f"{type(value).__name__} {value!r}"


def keywords(text: str, locale: str = "en", **others: Any) -> list[Any]:
    """What arrives by name."""
    return [text, locale, others]


def fail(message: str) -> None:
    """Raise."""
    raise Refusal(message, {"limit": 3})


def time_of_day() -> float:
    """Milliseconds since 1970, as the clock on the wall has it."""
    return time.time() * 1000


def unsendable() -> Any:
    """A result that cannot be encoded."""
    return {"items": [1, 2, 3, {4}]}


def text(length: int) -> str:
    """A string."""
    return "x" * length


def sleep(seconds: float, value: Any = None) -> Any:
    """Answer late."""
    time.sleep(seconds)
    return value


def pid_once_there(path: str) -> int:
    """Which worker answers, as soon as a file is there."""
    while not Path(path).exists():
        time.sleep(0.005)
    return os.getpid()


def begin_and_wait(path: str) -> None:
    """Tell by a file beside it that this has begun, and answer as soon as that one is there."""
    Path(f"{path} has begun").touch()
    pid_once_there(path)


def until_cancelled(path: str, name: str) -> None:
    """Tell by a file that this has begun, and note when nobody wants the answer any more."""
    call = shm_protocol.current_call()
    assert call is not None
    Path(path).touch()
    while not call.cancelled:
        time.sleep(0.001)
    noted.append(name)


def items_until_cancelled(path: str, name: str) -> Iterator[int]:
    """The same between two items of a stream."""
    yield 1
    until_cancelled(path, name)
    yield 2


def pid() -> int:
    """Which worker answers."""
    return os.getpid()


def call_node(method: str, args: list[Any], timeout: float = 30.0, **kwargs: Any) -> Any:
    """Call back to where this call came from."""
    call = shm_protocol.current_call()
    assert call is not None
    return call.connection.call(method, *args, timeout=timeout, kwargs=kwargs)


def down(depth: int) -> Any:
    """Down the chain: see node_peer.ts."""
    call = shm_protocol.current_call()
    assert call is not None
    return call.chain if depth == 0 else call.connection.call("functions.down", depth - 1)


def context() -> dict[str, Any]:
    """What is known of the call being served."""
    call = shm_protocol.current_call()
    assert call is not None
    return {"method": call.method, "chain": call.chain, "remaining": call.remaining, "traceparent": call.traceparent}


def count(to: int, *, start: int = 0) -> Iterator[int]:
    """A stream."""
    yield from range(start, to)


def count_forever() -> Iterator[int]:
    """A stream that notes its end."""
    number = 0
    try:
        while True:
            yield number
            number += 1
    finally:
        noted.append("count_forever closed")


def count_then_fail(to: int) -> Iterator[int]:
    """A stream that breaks."""
    yield from range(to)
    raise Refusal("no more", None)


def note(value: Any) -> None:
    """For notifications."""
    noted.append(value)


def notes() -> list[Any]:
    """What has been noted."""
    return noted


def keep(*arrays: Any) -> list[Any]:
    """Hold on to them. Tells what each is."""
    kept.extend(arrays)
    return [[type(array).__name__, getattr(array, "shape", None) and list(array.shape)] for array in arrays]


def read_kept(index: int, at: int) -> float:
    """An element of one."""
    return float(kept[index].reshape(-1)[at])


def write_kept(index: int) -> None:
    """Try to."""
    kept[index][0] = 5


def give_kept(index: int) -> Any:
    """One of them."""
    return kept[index]


def each_kept() -> Iterator[Any]:
    """All of them, one after the other."""
    yield from kept


def forget() -> None:
    """Let go of all."""
    kept.clear()


EXPOSED = (
    begin_and_wait,
    call_node,
    context,
    count,
    count_forever,
    count_then_fail,
    describe,
    down,
    each_kept,
    echo,
    fail,
    items_until_cancelled,
    keywords,
    forget,
    give_kept,
    keep,
    note,
    notes,
    pid,
    pid_once_there,
    read_kept,
    sleep,
    text,
    time_of_day,
    unsendable,
    until_cancelled,
    write_kept,
)

if __name__ == "__main__":
    functions = {function.__name__: function for function in (*EXPOSED, *python_errors.EXPOSED)}
    shm_protocol.serve(expose={"worker": functions}, name=sys.argv[1])
