"""The process that calls: `python -m bench.caller PEER_MODULE ADDRESS CALLS WARMUP`.

Prints each call's time as a native u32 of nanoseconds.
"""

from __future__ import annotations

import array
import importlib
import sys
import time
from typing import cast

from bench.peers.interface import PythonHalf
from bench.workload import ARGUMENT

LONGEST_NS = 2**32 - 1


def main() -> None:
    """Warm up, time, check the answers, print."""
    module, address, calls, warmup = sys.argv[1:]
    half = cast("PythonHalf", importlib.import_module(f"bench.peers.{module}"))
    caller = half.connect(address)
    call = caller.call
    clock = time.perf_counter_ns
    for _ in range(int(warmup)):
        call(ARGUMENT)
    samples = array.array("I", bytes(4 * int(calls)))
    for number in range(int(calls)):
        began = clock()
        answer = call(ARGUMENT)
        took = clock() - began
        samples[number] = min(took, LONGEST_NS)
        if answer != ARGUMENT:
            raise SystemExit(f"{module}: call {number} answered {answer!r}, not {ARGUMENT!r}")
    caller.close()
    sys.stdout.buffer.write(samples.tobytes())


if __name__ == "__main__":
    main()
