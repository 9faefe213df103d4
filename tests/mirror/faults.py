"""Provokes in Python what `faults.ts` provokes in TypeScript. As a program it is a worker with the same functions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import shm_protocol
from shm_protocol import frames, handshake, values
from shm_protocol.exposed import Exposed

VECTORS = Path(__file__).resolve().parents[2] / "shm_protocol" / "vectors" / "bad.json"


class Boom(Exception):
    """Raised by a value that is looked at."""


class Thing:
    """Cannot be sent."""


class RaisingDict(dict[str, Any]):
    """Raises when it is looked at."""

    def items(self) -> Any:
        """Raise."""
        raise Boom("boom")


def stall() -> None:
    """Answer long after the deadline."""
    call = shm_protocol.current_call()
    assert call is not None
    while call.remaining:
        time.sleep(0.01)
    time.sleep(1)


def stall_between() -> Iterator[int]:
    """A stream that stops for too long."""
    yield 1
    stall()
    yield 2


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "echo": lambda value: value,
    "count": lambda to: iter(range(to)),
    "stall": lambda *_: stall(),
    "stallBetween": lambda *_: stall_between(),
    "unsendable": lambda *_: {"items": [1, 2, 3, lambda: None]},
    "text": lambda length: "x" * length,
}


def nested(depth: int) -> object:
    """A list in a list in a list."""
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


VALUES: dict[str, Callable[[], object]] = {
    "a function": lambda: [1, lambda: None],
    "an object of a class": lambda: {"at": Thing()},
    "an int that is too large": lambda: [2**64],
    "an int that is too small": lambda: [-(2**63) - 1],
    "a lone surrogate": lambda: {"text": "ab\ud800"},
    "a key that cannot be one": lambda: {Thing(): 1},
    "too deep": lambda: nested(600),
    "a time out of range": lambda: [datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))],
    "a value that raises": lambda: {"at": RaisingDict(a=1)},
    "too many values": lambda: [1] * 1_048_577,
    "too large a message": lambda: bytes(100_000),
}

OPTIONS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "credit of 0": ("stream", "functions.count", {"credit": 0}),
    "too much credit": ("stream", "functions.count", {"credit": 65_537}),
    "credit that is text": ("stream", "functions.count", {"credit": "1"}),
    "a timeout of 0": ("call", "functions.echo", {"timeout": 0}),
    "a timeout below 0": ("call", "functions.echo", {"timeout": -1}),
    "a timeout that is text": ("call", "functions.echo", {"timeout": "1"}),
    "a traceparent that is a number": ("call", "functions.echo", {"traceparent": 5}),
    "a method that is a number": ("call", 5, {}),
    "a method without a name": ("call", "", {}),
    "a method with too long a name": ("call", "é" * 129, {}),
    "a method that is not there": ("call", "functions.missing", {}),
    "a call of a stream": ("call", "functions.count", {}),
    "a stream of a value": ("stream", "functions.echo", {}),
    "a deadline that passes": ("call", "functions.stall", {"timeout": 0.05}),
    "a deadline that passes in a stream": ("stream", "functions.stallBetween", {"timeout": 0.25}),
    "a result that cannot be sent": ("call", "functions.unsendable", {}),
}

EXPOSED: dict[str, Any] = {
    "a class": {"thing": Thing},
    "nothing to call": {"thing": {}},
    "too long a name": {"x" * 257: stall},
    "no name": {"": stall},
    "the library's own name": {"shm_polyglot.f": stall},
}


def said(provoke: Callable[[], object]) -> str:
    """What the error says."""
    try:
        return f"no error, but {provoke()!r}"
    except Exception as error:  # what it is, the test says
        return error.message if isinstance(error, shm_protocol.RemoteError) else str(error)


def provoke(client: shm_protocol.Client) -> dict[str, str]:
    """Each fault with what is said of it."""
    told: dict[str, str] = {}
    for name, (kind, method, options) in OPTIONS.items():
        if kind == "call":
            told[name] = said(lambda: client.call(method, 3, **options))  # noqa: B023  # called at once
        else:
            told[name] = said(lambda: list(client.stream(method, 3, **options)))  # noqa: B023
    for name, make in VALUES.items():
        told[name] = said(lambda: client.call("functions.echo", make()))  # noqa: B023
    for name, exposable in EXPOSED.items():
        told[f"exposing {name}"] = said(lambda: Exposed(exposable))  # noqa: B023
    told["too large a result"] = said(lambda: client.call("functions.text", 100_000))
    return told


class Nobody:
    """Takes every frame."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def read(of: str, wire: bytes) -> object:
    """Read a message of `bad.json`."""
    if of == "value":
        return values.decode(wire)
    if of == "frame":
        frames.read_frame(values.decode(wire), Nobody())
        return None
    size = handshake.HEADER.size
    handshake.decode_header(wire[:size])
    return handshake.decode_hello(wire[size:]) if of == "hello" else handshake.decode_answer(wire[size:])


def refusals() -> dict[str, str]:
    """What is said of each message of `vectors/bad.json`."""
    return {
        f"{bad['of']}: {bad['name']}": said(lambda: read(bad["of"], bytes.fromhex(bad["wire"])))  # noqa: B023
        for bad in json.loads(VECTORS.read_text())
    }


if __name__ == "__main__":
    shm_protocol.serve(expose={"functions": FUNCTIONS}, name="peer")
