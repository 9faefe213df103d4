"""The Python half of the peers whose host is Node: it runs inside that process, in whatever Python the engine has."""

from __future__ import annotations

import array
import json
from collections.abc import Callable
from types import SimpleNamespace

from bench import driver
from bench.cases import Case
from bench.workload import FUNCTIONS


class Calling:
    """A caller whose one function is TypeScript's, as the engine shows it to Python."""

    def __init__(self, function: Callable[[object], object]) -> None:
        self._function = function

    def call(self, function: str, argument: object) -> object:
        """The function that was given, whatever the name."""
        return self._function(argument)

    def stop(self) -> None:
        """Nothing to end: the host ends Python."""


def measure(
    function: Callable[[object], object], case: str, calls: int, seconds: float
) -> tuple[bytes, float, int, str]:
    """As `bench.driver.measure`, for a case as `Case.to_json` writes it.

    The parts of its result, the times as bytes of native doubles: Python hands those over for little, thousands of
    numbers not, and the processor's time of a measurement is measured too.
    """
    measured = driver.measure(Calling(function), Case(**json.loads(case)), calls, seconds)
    times = array.array("d", measured.times_ns).tobytes()
    return times, measured.elapsed_ns, measured.errors, measured.first_error


def clock_us() -> float:
    """What reading the clock costs in this Python, microseconds."""
    return driver.clock_us()


def functions() -> SimpleNamespace:
    """The functions that TypeScript calls, each an attribute."""
    return SimpleNamespace(**FUNCTIONS)
