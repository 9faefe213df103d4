"""The Python half of the TypeScript server's /api/benchmark."""

import time
from typing import Final

from python_side.bridge import get_node

MAX_CALLS: Final = 1000
"""Calls in one run: a worker does nothing else meanwhile, so the TypeScript side asks for many short runs."""


def time_typescript_calls(calls: int) -> list[int]:
    """Calls typescript_utils.slugify `calls` times and gives the nanoseconds that each call took, as seen from Python.

    Raises ValueError for a number out of 1 … MAX_CALLS, and BridgeError when a call fails.
    """
    if type(calls) is not int or not 1 <= calls <= MAX_CALLS:
        raise ValueError(f"calls must be an integer from 1 to {MAX_CALLS}, not {calls!r}")
    call = get_node().call
    clock = time.perf_counter_ns
    times = []
    for _ in range(calls):
        start = clock()
        call("typescript_utils.slugify", "Hello, World", timeout=5.0)
        times.append(clock() - start)
    return times
