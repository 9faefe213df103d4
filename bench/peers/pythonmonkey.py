"""PythonMonkey: SpiderMonkey, Firefox's JavaScript engine, inside Python. Each language sees the other's values."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import pythonmonkey

from bench.peers import embedded_javascript
from bench.peers.interface import Caller
from bench.workload import FUNCTIONS

# Given Python's list itself, the engine's `map` ends the process by SIGSEGV after some hundred calls.
COPYING_THE_LIST: Final = "(texts) => workload.FUNCTIONS.batch(Array.from(texts))"


class FromPython:
    """Python calls JavaScript."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[[object], object]] = dict(pythonmonkey.eval("workload.FUNCTIONS"))
        self._functions["batch"] = pythonmonkey.eval(COPYING_THE_LIST)

    def call(self, function: str, argument: object) -> object:
        """See interface.py. The answer is a dict or list of Python's by its type, whose values stay in JavaScript."""
        return self._functions[function](argument)

    def stop(self) -> None:
        """See interface.py. The engine ends with the process."""

    def describe(self) -> str:
        """What a reader has to know of the row."""
        return "an answer is a proxy, read only when it is checked; a list is copied: as a proxy it crashes the process"


class FromJavaScript(embedded_javascript.Timing):
    """JavaScript calls Python."""

    def __init__(self) -> None:
        super().__init__(pythonmonkey.eval("embedded"))

    def function(self, name: str, argument: object) -> Any:
        """Python's function itself."""
        return FUNCTIONS[name]

    def stop(self) -> None:
        """See interface.py. The engine ends with the process."""

    def describe(self) -> str:
        """What a reader has to know of the row."""
        return "timed by Python's clock; an answer is a proxy, read only when it is checked"


def start(address: str) -> Caller:  # noqa: ARG001  # the interface has it
    """See interface.py. Needs no address; the direction is that of the trial, BENCH_DIRECTION.

    Raises FileNotFoundError for what is not built.
    """
    embedded_javascript.load(pythonmonkey.eval)
    return FromPython() if os.environ["BENCH_DIRECTION"] == "py->ts" else FromJavaScript()
