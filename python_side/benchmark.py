"""The Python half of the TypeScript server's /api/benchmark."""

import time
from typing import Final

from shm_protocol import CallTimeout

from python_side.bridge import get_node

MAX_CALLS: Final = 1000
"""Calls in one run: the worker answers no other call of TypeScript's meanwhile, so it asks for many short runs."""

TIMEOUT_S: Final = 5.0
"""For all calls of a run together: a Node that answers each one late must not hold the worker for longer."""


def time_typescript_calls(calls: int) -> list[int]:
    """Calls typescript_utils.slugify `calls` times and gives the nanoseconds that each call took, as seen from Python.

    Raises ValueError for a number out of 1 … MAX_CALLS, CallTimeout when they take longer than TIMEOUT_S together, and
    BridgeError when a call fails.
    """
    if type(calls) is not int or not 1 <= calls <= MAX_CALLS:
        raise ValueError(f"calls must be an integer from 1 to {MAX_CALLS}, not {calls!r}")
    call = get_node().call
    clock = time.perf_counter_ns
    times: list[int] = []
    start = clock()
    ends = start + int(TIMEOUT_S * 1e9)
    for _ in range(calls):
        if start >= ends:
            raise CallTimeout(f"{len(times)} of {calls} calls took {TIMEOUT_S:g} s")
        call("typescript_utils.slugify", "Hello, World", timeout=(ends - start) / 1e9)
        end = clock()
        times.append(end - start)
        start = clock()
    return times
