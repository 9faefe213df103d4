"""Calls from Python to JavaScript, made and timed by GraalPy in the JVM; calls.js does the same the other way.

Calls.java runs this file and gives each order, a line of JSON, to the function that `caller` makes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

NS_PER_S: Final = 1_000_000_000
MOST_ERRORS: Final = 100
CLOCK_READINGS: Final = 10_001
CLOCK_WARMUP: Final = 200_000

Function = Callable[[object], object]


def from_wire(value: dict[str, Any]) -> object:
    """An argument or answer of an order, as bench/peers/embedded_javascript.py writes it."""
    return value["latin1"].encode("latin-1") if "latin1" in value else value["json"]


def to_wire(value: object) -> dict[str, object]:
    """The other way round."""
    return {"latin1": value.decode("latin-1")} if isinstance(value, bytes) else {"json": value}


def clock_us() -> float:
    """What two readings of the clock, one right after the other, give: microseconds, median."""
    clock = time.perf_counter_ns
    differences = []
    for _ in range(CLOCK_WARMUP + CLOCK_READINGS):
        began = clock()
        differences.append(clock() - began)
    del differences[:CLOCK_WARMUP]
    # statistics.median would do, if its imports did not take seconds.
    return sorted(differences)[CLOCK_READINGS // 2] / 1000


def caller(functions: object, keys: Callable[[object], list[str]]) -> Callable[[str], str]:
    """The function that obeys. `functions` has JavaScript's by name, `keys` is its Object.keys."""

    def plain(value: object) -> object:
        """An answer in Python's own types: objects of JavaScript are proxies that equal no dict."""
        if value is None or isinstance(value, (str, bytes, int, float)):
            return value
        if isinstance(value, list):
            return [plain(item) for item in value]
        return {key: plain(getattr(value, key)) for key in keys(value)}

    def measure(order: dict[str, Any]) -> dict[str, object]:
        """As bench.driver.measure does it."""
        function: Function = getattr(functions, order["function"])
        argument = from_wire(order["argument"])
        answer = argument if order["answer"] is None else from_wire(order["answer"])
        calls, pause_s = order["calls"], order["pause_s"]
        clock = time.perf_counter_ns
        times: list[int] = []
        errors, first_error = 0, ""
        start = clock()
        end = start + int(order["seconds"] * NS_PER_S)
        while len(times) < calls and errors < MOST_ERRORS:
            if pause_s:
                time.sleep(pause_s)
            began = clock()
            if began >= end:
                break
            try:
                got = function(argument)
                took = clock() - began
                wrong = "" if plain(got) == answer else f"answered {plain(got)!r:.200}, not {answer!r:.200}"
            except BaseException as error:  # noqa: BLE001  # what JavaScript throws is no Exception, and is its result
                took = clock() - began
                wrong = f"raised {type(error).__name__}: {error}"
            if wrong:
                errors += 1
                first_error = first_error or f"call {len(times)} {wrong}"
            times.append(took)
        return {"times_ns": times, "elapsed_ns": clock() - start, "errors": errors, "first_error": first_error}

    def call(order: dict[str, Any]) -> dict[str, object]:
        try:
            function: Function = getattr(functions, order["function"])
            return {"answer": to_wire(plain(function(from_wire(order["argument"]))))}
        except BaseException as error:  # noqa: BLE001  # as above
            return {"raised": str(error)}

    def obey(line: str) -> str:
        order = json.loads(line)
        if order["do"] == "measure":
            return json.dumps(measure(order))
        if order["do"] == "call":
            return json.dumps(call(order))
        if order["do"] == "clock":
            return json.dumps({"clock_us": clock_us()})
        raise ValueError(f"no order {order['do']}; there are measure, call and clock")

    return obey
