"""The process that calls: `python -m bench.caller PACKAGE.MODULE ADDRESS`.

It has its orders from file descriptor $BENCH_CONTROL_FD, one a line, see `bench.trial.Order`. To each it says `warm`
when the untimed calls are made, goes on at the next line, says `done` after the last timed call, and at one line more
writes the times and reports. So whoever gives the orders can look at the clock of the processors exactly around the
timed calls.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import sys
from pathlib import Path
from socket import socket
from typing import Any, TextIO, cast

from bench import driver
from bench.cases import Case
from bench.peers.interface import Caller, Measured, MeasuringCaller, PythonModule
from bench.trial import CONTROL_FD


class CaseFailed(Exception):
    """A call went wrong before anything was timed."""


class Orders:
    """The other end of that file descriptor."""

    def __init__(self, control: TextIO) -> None:
        self._control = control

    def next(self) -> str:
        """The next line; empty when the orders have ended."""
        return self._control.readline()

    def say(self, line: str) -> None:
        """Say one line."""
        self._control.write(line + "\n")
        self._control.flush()

    def pause(self, word: str) -> None:
        """Say the word, and wait for the line that says to go on."""
        self.say(word)
        self.next()


def measure(module: PythonModule, caller: Caller, address: str, order: dict[str, Any], orders: Orders) -> Measured:
    """Warm up, let the orders look at their clocks, and time."""
    case = Case(**order["case"])
    if case.outstanding > 1:

        def start() -> Caller:
            return module.start(address)

        return driver.measure_outstanding(start, case, lambda: orders.pause("warm"), order["calls"], order["seconds"])

    def run(calls: int, seconds: float) -> Measured:
        if hasattr(caller, "measure"):
            return cast("MeasuringCaller", caller).measure(case, calls, seconds)
        return driver.measure(caller, case, calls, seconds)

    if order["warmup_calls"]:
        warmup = run(order["warmup_calls"], order["warmup_seconds"])
        if warmup.errors:
            raise CaseFailed(warmup.first_error)
    orders.pause("warm")
    return run(order["calls"], order["seconds"])


def clock_us(caller: Caller) -> float:
    """What reading the clock costs that times this caller."""
    own = getattr(caller, "clock_us", None)
    return float(own()) if own else driver.clock_us()


def main() -> None:
    """Obey until the orders end."""
    name, address = sys.argv[1:]
    module = cast("PythonModule", importlib.import_module(name))
    caller = module.start(address)
    describe = getattr(caller, "describe", None)
    with socket(fileno=int(os.environ[CONTROL_FD])) as control, control.makefile("rw") as lines:
        orders = Orders(lines)
        orders.say(json.dumps({"note": describe() if describe else ""}))
        while line := orders.next():
            order = json.loads(line)
            if "clock" in order:
                orders.say(json.dumps({"clock_us": clock_us(caller)}))
                continue
            try:
                measured = measure(module, caller, address, order, orders)
            except Exception as error:  # noqa: BLE001  # whatever a peer raises is its result
                message = str(error) if isinstance(error, CaseFailed) else f"{type(error).__name__}: {error}"
                orders.say(json.dumps({"failed": message}))
                continue
            orders.pause("done")
            Path(order["times"]).write_bytes(array.array("d", measured.times_ns).tobytes())
            report = {
                "elapsed_ns": measured.elapsed_ns,
                "checking_ns": measured.checking_ns,
                "checking_cpu_ns": measured.checking_cpu_ns,
                "errors": measured.errors,
                "first_error": measured.first_error,
            }
            orders.say(json.dumps(report))
    caller.stop()


if __name__ == "__main__":
    main()
