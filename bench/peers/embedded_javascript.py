"""What the JavaScript engines inside Python have in common: what is called, and how JavaScript's calls are timed."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.cases import Case
from bench.peers.interface import Measured
from bench.workload import answer_to, argument_of

FOLDER: Final = Path(__file__).parent
WORKLOAD: Final = FOLDER.parent / "build" / "workload.js"


def load(evaluate: Callable[[str], object]) -> None:
    """Define `workload` and `embedded` in an engine that runs a script by `evaluate`.

    Raises FileNotFoundError for what is not built.
    """
    if not WORKLOAD.exists():
        raise FileNotFoundError(f"{WORKLOAD} is not there; make bench-setup makes it")
    evaluate(WORKLOAD.read_text())
    evaluate((FOLDER / "embedded_javascript.js").read_text())


def to_wire(value: object) -> dict[str, Any]:
    """An argument or answer as JSON can have it."""
    return {"latin1": value.decode("latin-1")} if isinstance(value, bytes) else {"json": value}


def from_wire(value: dict[str, Any]) -> object:
    """The other way round."""
    return value["latin1"].encode("latin-1") if "latin1" in value else value["json"]


def order_of(case: Case, calls: int, seconds: float) -> str:
    """What embedded_javascript.js is to do: so many calls at most, begun within so many seconds."""
    order = {
        "argument": to_wire(argument_of(case)),
        "answer": to_wire(answer_to(case)),
        "calls": calls,
        "seconds": seconds,
        "pause_s": case.pause_s,
    }
    return json.dumps(order)


class Timing(ABC):
    """JavaScript that calls Python, in an engine that waits for Python's answer."""

    def __init__(self, embedded: Any) -> None:
        """With the object of that name, as the engine shows it to Python."""
        self._once, self._measure, self._clock_us = (embedded[name] for name in ("once", "measure", "clockUs"))

    @abstractmethod
    def function(self, name: str, argument: object) -> Any:
        """What JavaScript is to call with such an argument: whatever of Python's the engine takes for a function."""

    def call(self, function: str, argument: object) -> object:
        """See interface.py."""
        answer = self._once(self.function(function, argument), json.dumps(to_wire(argument)))
        return from_wire(json.loads(answer))

    def measure(self, case: Case, calls: int, seconds: float) -> Measured:
        """See interface.py."""
        function = self.function(case.function, argument_of(case))
        order = order_of(case, calls, seconds)
        return Measured(**json.loads(self._measure(function, order, time.perf_counter, time.sleep)))

    def clock_us(self) -> float:
        """What it costs JavaScript to read Python's clock, which is a call to Python too: microseconds, median."""
        return float(self._clock_us(time.perf_counter))
