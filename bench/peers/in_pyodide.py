"""What crosses between Python and TypeScript in Pyodide: converted as its documentation advises (`to_js`, `to_py`)."""

from __future__ import annotations

from collections.abc import Callable

from pyodide.ffi import to_js  # type: ignore[import-not-found]  # is there only inside of Pyodide

from bench.peers import in_node
from bench.workload import FUNCTIONS

CROSSES_AS_ITSELF = frozenset({str, int, float, bool, type(None)})


def function_named(name: str) -> Callable[[object], object]:
    """The function of that name, its answer a plain value of TypeScript. The argument is converted by the caller."""
    function = FUNCTIONS[name]

    def call(argument: object) -> object:
        return to_js(function(argument))

    return call


def _called_with_plain_values(function: Callable[[object], object]) -> Callable[[object], object]:
    """TypeScript's function with arguments and answers that are plain values of both languages."""

    def call(argument: object) -> object:
        # By the type: isinstance asks TypeScript's object for its class, which takes longer than the whole call.
        if type(argument) not in CROSSES_AS_ITSELF:
            argument = to_js(argument)
        answer = function(argument)
        return answer if type(answer) in CROSSES_AS_ITSELF else answer.to_py()  # type: ignore[attr-defined]

    return call


def measure(function: Callable[[object], object], case: str, calls: int, seconds: float) -> object:
    """As `in_node.measure`, for a function of TypeScript."""
    return to_js(in_node.measure(_called_with_plain_values(function), case, calls, seconds))
